import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fakeAgent, fakePresence, NOW_MS } from "./agent.fake.ts";
import { busySlotsOf, expiresAtMsOf, freeSlotsOf, stateOf } from "./agent.ts";
import { assertService, assertSpeaksFor } from "./caller.ts";
import { fingerprintOf } from "./request-fingerprint.ts";
import { encodeResumeToken, tryDecodeResumeToken } from "./resume-token.ts";
import { wordsOf } from "./text-tokens.ts";
import { createTopList } from "./top-list.ts";

describe("agents", () => {
  it.each<[string, Parameters<typeof fakePresence>[0] | undefined, [string, number, number]]>([
    ["never connected", undefined, ["OFFLINE", 0, 0]],
    ["online", { slots: 3, busySlots: 1 }, ["ONLINE", 2, 1]],
    ["online with more slots than registered", { slots: 9, busySlots: 1 }, ["ONLINE", 3, 1]],
    ["busy", { state: "BUSY", slots: 2, busySlots: 2 }, ["BUSY", 0, 2]],
    ["over its slots", { state: "BUSY", slots: 2, busySlots: 5 }, ["BUSY", 0, 5]],
    ["draining", { state: "DRAINING", slots: 3, busySlots: 1 }, ["DRAINING", 0, 1]],
    ["gone", { state: "OFFLINE", slots: 3, busySlots: 1 }, ["OFFLINE", 0, 0]],
    ["lost", { state: "LOST", slots: 3, busySlots: 1 }, ["LOST", 0, 0]],
  ])("count slots when %s", (_name, changes, expected) => {
    const presence = changes && fakePresence(changes);
    const agent = fakeAgent("a", { slots: 4, presence });
    expect([stateOf(agent), freeSlotsOf(agent), busySlotsOf(agent)]).toEqual(expected);
  });

  it("expire a ttl after the later of registration and last sight", () => {
    const record = { ttlMs: 1_000, expiresAtMs: NOW_MS };
    const at = (presence: ReturnType<typeof fakePresence> | undefined) =>
      expiresAtMsOf(fakeAgent("a", { ...record, presence }));
    expect(at(undefined)).toBe(NOW_MS);
    expect(at(fakePresence({ seenAtMs: NOW_MS - 5_000 }))).toBe(NOW_MS);
    expect(at(fakePresence({ seenAtMs: NOW_MS + 5_000 }))).toBe(NOW_MS + 6_000);
  });
});

describe("callers", () => {
  const caller = { namespace: "default", principalId: "a" };

  it("lets agents act for themselves only, and everybody else for anyone", () => {
    expect(() => assertSpeaksFor({ ...caller, kind: "agent" }, "a")).not.toThrow();
    expect(() => assertSpeaksFor({ ...caller, kind: "agent" }, "b")).toThrow(
      expect.objectContaining({ kind: "forbidden", reason: "AGENT_ID_MISMATCH" }),
    );
    expect(() => assertSpeaksFor({ ...caller, kind: "user" }, "b")).not.toThrow();
  });

  it("lets services do what only services may", () => {
    expect(() => assertService({ ...caller, kind: "service" }, "watch")).not.toThrow();
    expect(() => assertService({ ...caller, kind: "user" }, "watch")).toThrow(
      expect.objectContaining({ kind: "forbidden", reason: "SERVICE_ONLY" }),
    );
  });
});

describe("fingerprintOf", () => {
  const hex = (...args: Parameters<typeof fingerprintOf>) =>
    Buffer.from(fingerprintOf(...args)).toString("hex");

  it("is the same for the same request however it is written down", () => {
    expect(hex("M", { a: 1, b: undefined, c: { y: 2n, x: [true] } })).toBe(
      hex("M", { c: { x: [true], y: 2n }, a: 1 }),
    );
  });

  it("differs by method, value, type and order of lists", () => {
    const all = [
      hex("M", { a: 1 }),
      hex("N", { a: 1 }),
      hex("M", { a: 2 }),
      hex("M", { a: "1" }),
      hex("M", { a: [1, 2] }),
      hex("M", { a: [2, 1] }),
      hex("M", { a: {} }),
      hex("M", { a: [] }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("resume tokens", () => {
  it("say what went into them", () => {
    for (const namespace of [undefined, "default", "*", "a.b-c_d"]) {
      const point = { feedId: "feed", revision: 12_345, namespace };
      expect(tryDecodeResumeToken(encodeResumeToken(point))).toEqual(point);
    }
  });

  it("never throw, whatever they are", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        tryDecodeResumeToken(text);
      }),
    );
    for (const text of ["2 feed 1 *", "1 feed x *", "1 feed 1 ?", "1 feed", "1 feed 1 * more"]) {
      expect(tryDecodeResumeToken(Buffer.from(text).toString("base64url"))).toBeUndefined();
    }
  });
});

describe("wordsOf", () => {
  it.each([
    ["text.analyse v2", ["text", "analyse", "v2"]],
    ["  Ärger, ärger!  ", ["ärger"]],
    ["要約 する", ["要約", "する"]],
    ["--- ...", []],
  ])("splits %j", (text, expected) => {
    expect([...wordsOf(text)]).toEqual(expected);
  });
});

describe("createTopList", () => {
  it("keeps what sorting would put first", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50)), fc.nat(12), (values, max) => {
        const top = createTopList<number>(max, (a, b) => a - b);
        for (const value of values) top.offer(value);
        expect(top.items).toEqual([...values].sort((a, b) => a - b).slice(0, max));
      }),
    );
  });
});
