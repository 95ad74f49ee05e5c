import { describe, expect, it } from "vitest";
import { PAYLOAD_MAX_BYTES } from "./limits.ts";
import { joinOutputs, readItems } from "./map.ts";
import type { Payload } from "./task.ts";

const MAP = { source: "list", itemName: "item", maxItems: 3 };

function payload(text: string, contentType = "application/json"): Payload {
  return { contentType, data: Buffer.from(text) };
}

describe("readItems", () => {
  it("reads the elements of a list, whatever they are", () => {
    const list = payload('[1, "two", {"three": [null]}]', "Application/JSON; charset=utf-8");
    expect(readItems(list, MAP, 10)).toEqual({
      ok: true,
      items: ["1", '"two"', '{"three":[null]}'],
    });
    expect(readItems(payload("[]", "application/x+json"), MAP, 10)).toEqual({
      ok: true,
      items: [],
    });
  });

  const flaws: readonly [string, Payload | undefined, string][] = [
    ["an object", payload('{"0": 1}'), "MAP_SOURCE_INVALID"],
    ["what is no JSON", payload("[1,"), "MAP_SOURCE_INVALID"],
    ["a list of another type", payload("[1]", "text/plain"), "MAP_SOURCE_INVALID"],
    ["nothing", undefined, "MAP_SOURCE_INVALID"],
    ["more than max_items", payload("[1,2,3,4]"), "MAP_TOO_LARGE"],
  ];
  for (const [what, output, reason] of flaws) {
    it(`refuses ${what} with ${reason}`, () => {
      expect(readItems(output, MAP, 10)).toMatchObject({ ok: false, reason });
    });
  }

  it("refuses more elements than the job has room for", () => {
    expect(readItems(payload("[1,2,3]"), MAP, 2)).toMatchObject({ reason: "MAP_TOO_LARGE" });
  });
});

describe("joinOutputs", () => {
  it("keeps JSON as it is, quotes text, and wraps anything else", () => {
    const list = joinOutputs([
      payload("12345678901234567890"),
      payload('say "hi"', "text/plain"),
      payload("{broken"),
      payload("\u0001", "image/png"),
    ]);
    expect(list?.contentType).toBe("application/json");
    expect(Buffer.from(list?.data ?? []).toString()).toBe(
      '[12345678901234567890,"say \\"hi\\"",' +
        '{"contentType":"application/json","base64":"e2Jyb2tlbg=="},' +
        '{"contentType":"image/png","base64":"AQ=="}]',
    );
  });

  it("gives up on a list that exceeds a payload", () => {
    const half = payload("x".repeat(PAYLOAD_MAX_BYTES / 2), "text/plain");
    expect(joinOutputs([half, half])).toBeUndefined();
  });
});
