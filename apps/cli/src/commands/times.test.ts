import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { parseCreated, parseSpan, parseTime, showSpan } from "./times.ts";

const NOW_MS = Date.parse("2026-11-26T12:00:00Z");

describe("parseTime", () => {
  const cases: readonly [string, string][] = [
    ["2026-11-26T08:00:00Z", "2026-11-26T08:00:00.000Z"],
    ["2026-11-26T08:00:00.5+02:00", "2026-11-26T06:00:00.500Z"],
    ["2026-11-26", "2026-11-26T00:00:00.000Z"],
    ["30s", "2026-11-26T11:59:30.000Z"],
    ["90m", "2026-11-26T10:30:00.000Z"],
    ["12h", "2026-11-26T00:00:00.000Z"],
    ["7d", "2026-11-19T12:00:00.000Z"],
  ];
  for (const [text, expected] of cases) {
    it(`reads ${text}`, () => {
      const time = parseTime("since", text, NOW_MS);
      expect(time && new Date(timestampMs(time)).toISOString()).toBe(expected);
    });
  }

  it("leaves out what was left out, and refuses what is no time with the flag's name", () => {
    expect(parseTime("since", undefined)).toBeUndefined();
    for (const text of ["yesterday", "5w", "-5m", ""]) {
      expect(() => parseTime("until", text)).toThrow("--until is a time");
    }
  });
});

describe("parseCreated", () => {
  const created = (flags: Record<string, string>) =>
    parseCreated({ text: (flag) => flags[flag] }, NOW_MS);

  it("reads both ends at one moment, either of them alone, and none", () => {
    const from = timestampFromMs(NOW_MS - 3_600_000);
    const until = timestampFromMs(NOW_MS - 60_000);
    expect(created({ since: "1h", until: "1m" })).toEqual({
      createdFrom: from,
      createdUntil: until,
    });
    expect(created({ since: "1h" })).toEqual({ createdFrom: from });
    expect(created({ until: "1m" })).toEqual({ createdUntil: until });
    expect(created({})).toEqual({});
  });

  it("refuses what is no time with the flag's name", () => {
    expect(() => created({ since: "soon" })).toThrow("--since is a time");
    expect(() => created({ until: "never" })).toThrow("--until is a time");
  });
});

describe("showSpan", () => {
  it("writes milliseconds below a second, and seconds above", () => {
    const at = (ms: number) => timestampFromMs(ms);
    expect(showSpan(at(1_000), at(1_250))).toBe("250 ms");
    expect(showSpan(at(900), at(3_400))).toBe("2.5 s");
    expect(showSpan(at(900), undefined)).toBe("-");
  });
});

describe("parseSpan", () => {
  it("reads how long something lasts, and says what it takes", () => {
    const ms = ["0s", "90m", "12h", "30d"].map((text) => {
      const span = parseSpan("ttl", text);
      return span && durationMs(span);
    });
    expect(ms).toEqual([0, 5_400_000, 43_200_000, 2_592_000_000]);
    expect(parseSpan("ttl", undefined)).toBeUndefined();
    for (const text of ["", "soon", "5", "-1s", "1w"]) {
      expect(() => parseSpan("ttl", text)).toThrow(/--ttl is how long/);
    }
  });
});
