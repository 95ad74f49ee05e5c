import { describe, expect, it } from "vitest";
import { type CpuProfile, renderSelfTimes, sumSelfTimes } from "./self-times.ts";

const node = (id: number, functionName: string, url = "", lineNumber = -1) => ({
  id,
  callFrame: { functionName, url, lineNumber, columnNumber: lineNumber },
});

/** Claims 3 ms at two places of the call tree, a query 1 ms, collection 2 ms, 4 ms idle. */
const PROFILE: CpuProfile = {
  nodes: [
    node(1, "(root)"),
    node(2, "claim", "file:///srv/bench/services/orchestrator/dist/engine/claim.js", 9),
    node(3, "claim", "file:///srv/bench/services/orchestrator/dist/engine/claim.js", 9),
    node(4, "", "/app/node_modules/pg/lib/query.js", 0),
    node(5, "(idle)"),
    node(6, "(garbage collector)"),
    node(7, "writev"),
    node(8, "read", "node:internal/fs", 4),
  ],
  samples: [2, 3, 5, 6, 4, 7, 8],
  timeDeltas: [500, 1_000, 2_000, 4_000, 2_000, 1_000, 250],
};

describe("sumSelfTimes", () => {
  it("lets a sample last until the next one and adds up the calls of a function", () => {
    const { totalMs, busyMs, functions } = sumSelfTimes(PROFILE);
    expect(totalMs).toBe(10.25);
    expect(busyMs).toBe(6.25);
    expect(functions.map(({ what, ms }) => [what, ms])).toEqual([
      ["claim (services/orchestrator/dist/engine/claim.js:10)", 3],
      ["(garbage collector)", 2],
      ["(anonymous) (pg/lib/query.js:1)", 1],
      ["writev", 0.25],
      ["read (node:internal/fs:5)", 0],
    ]);
    expect(functions[0]?.share).toBeCloseTo(0.48);
  });

  it("says whose code the time went to", () => {
    const owners = sumSelfTimes(PROFILE).owners.map(({ what, ms }) => [what, ms]);
    expect(owners).toEqual([
      ["services/orchestrator", 3],
      ["(garbage collector)", 2],
      ["pg", 1],
      ["(native)", 0.25],
      ["node", 0],
    ]);
  });

  it("knows a scoped package and an empty profile", () => {
    const scoped = [node(1, "call", "file:///app/node_modules/@grpc/grpc-js/build/a.js", 1)];
    const profile = { nodes: scoped, samples: [1, 1], timeDeltas: [0, 1_000] };
    expect(sumSelfTimes(profile).owners[0]?.what).toBe("@grpc/grpc-js");
    const empty = sumSelfTimes({ nodes: [], samples: [], timeDeltas: [] });
    expect(empty).toEqual({ totalMs: 0, busyMs: 0, functions: [], owners: [] });
  });
});

describe("renderSelfTimes", () => {
  it("writes as many lines of each list as are wanted", () => {
    const lines = renderSelfTimes(sumSelfTimes(PROFILE), 1).split("\n");
    expect(lines).toEqual([
      "busy 6 of 10 ms (61 %); self time, and share of the busy time:",
      "        3 ms  48.0 %  claim (services/orchestrator/dist/engine/claim.js:10)",
      "by owner of the code:",
      "        3 ms  48.0 %  services/orchestrator",
      "",
    ]);
  });
});
