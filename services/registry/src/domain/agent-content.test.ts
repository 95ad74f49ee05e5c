import { describe, expect, it } from "vitest";
import { fakeAgent, fakeCapability } from "./agent.fake.ts";
import { applyPatch, assertContent, contentHashOf } from "./agent-content.ts";

const content = fakeAgent("a").record;

describe("assertContent", () => {
  it("accepts two versions of one capability", () => {
    const capabilities = ["1.0.0", "1.0.1", "2.0.0-rc.1+build.5"].map((version) =>
      fakeCapability({ version }),
    );
    expect(() => assertContent({ ...content, capabilities })).not.toThrow();
  });

  it.each<[string, Parameters<typeof fakeCapability>[0][], string, string | undefined]>([
    ["the same one twice", [{}, {}], "CAPABILITY_DUPLICATE", "capabilities[1]"],
    [
      "a version with a leading zero",
      [{ version: "1.02.0" }],
      "REQUEST_INVALID",
      "capabilities[0].version",
    ],
    [
      "a negative latency",
      [{ latencyHintUs: -1 }],
      "REQUEST_INVALID",
      "capabilities[0].latency_hint",
    ],
    [
      "a latency beyond a day",
      [{ latencyHintUs: 1e12 }],
      "REQUEST_INVALID",
      "capabilities[0].latency_hint",
    ],
    [
      "more than fits in a message",
      [{ inputSchema: "é".repeat(600_000) }],
      "AGENT_TOO_LARGE",
      undefined,
    ],
  ])("refuses %s", (_name, changes, reason, field) => {
    const capabilities = changes.map(fakeCapability);
    let thrown: unknown;
    try {
      assertContent({ ...content, capabilities });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ kind: "invalid", reason });
    if (field !== undefined) {
      expect(thrown).toMatchObject({ details: { fieldViolations: [{ field }] } });
    }
  });
});

describe("contentHashOf", () => {
  it("does not depend on the order of labels but on everything else", () => {
    const hash = (changes: object) =>
      Buffer.from(contentHashOf({ ...content, ...changes })).toString("hex");
    expect(hash({ labels: { a: "1", b: "2" } })).toBe(hash({ labels: { b: "2", a: "1" } }));
    const others = [
      hash({}),
      hash({ displayName: "x" }),
      hash({ labels: { a: "1" } }),
      hash({ region: "eu" }),
      hash({ slots: 2 }),
      hash({ ttlMs: 60_000 }),
      hash({ capabilities: [fakeCapability({ costMicros: 1n })] }),
      hash({ capabilities: [fakeCapability({ latencyHintUs: 5 })] }),
      hash({ capabilities: [fakeCapability(), fakeCapability({ name: "b" })] }),
      hash({ capabilities: [fakeCapability({ name: "b" }), fakeCapability()] }),
    ];
    expect(new Set(others).size).toBe(others.length);
  });
});

describe("applyPatch", () => {
  const nothing = {
    displayName: undefined,
    capabilities: undefined,
    labels: undefined,
    region: undefined,
    slots: undefined,
  };

  it("leaves what is not set and replaces what is, also by nothing", () => {
    const current = fakeAgent("a", { displayName: "old", labels: { a: "1" }, region: "eu" }).record;
    expect(applyPatch(current, nothing)).toMatchObject({ displayName: "old", labels: { a: "1" } });
    expect(
      applyPatch(current, { ...nothing, displayName: "", labels: {}, slots: 3 }),
    ).toMatchObject({
      displayName: "",
      labels: {},
      region: "eu",
      slots: 3,
    });
  });
});
