import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Attempt,
  type Bench,
  type Clients,
  createBench,
  expectError,
  expectPerformance,
  outcomeOf,
  type Replica,
  rolledUp,
} from "./_helpers.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const BATCH_MAX = 500;
/** Windows that are asked for. No attempt lies so near to the edge of one that the time the test takes would matter. */
const WINDOWS_MS = [HOUR_MS, 6 * HOUR_MS, 20 * HOUR_MS, 720 * HOUR_MS];
const EDGE_MS = 5 * MINUTE_MS;
const REASONS = ["AGENT_ERROR", "DEADLINE_EXCEEDED", "AGENT_LOST"];

let bench: Bench;
let replica: Replica;
let random: () => number;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
  random = seeded(20_261_122);
});
afterAll(() => bench.close());

/** Numbers that look random and are the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

function attempt(): Attempt {
  const success = random() < 0.8;
  return {
    ageMs: age(),
    jobId: pick(["job-1", "job-2"]),
    agentId: pick(["ant", "bee", "cat"]),
    capability: pick(["text.analyse", "map.draw"]),
    success,
    reason: success ? "" : pick(REASONS),
    queueUs: Math.floor(10 ** (2 + 4 * random())),
    runUs: Math.floor(10 ** (3 + 5 * random())),
  };
}

function age(): number {
  for (;;) {
    const ageMs = random() < 0.3 ? random() * HOUR_MS : random() * 23 * HOUR_MS;
    if (WINDOWS_MS.every((windowMs) => Math.abs(windowMs - ageMs) > EDGE_MS)) return ageMs;
  }
}

async function recordAll(namespace: string, attempts: readonly Attempt[]): Promise<void> {
  for (let start = 0; start < attempts.length; start += BATCH_MAX) {
    const outcomes = attempts.slice(start, start + BATCH_MAX).map((each) => outcomeOf(each));
    await replica.record(namespace, outcomes);
  }
}

const windowOf = (windowMs: number) => ({ seconds: BigInt(Math.floor(windowMs / 1_000)) });

/** Holds both listings, all windows and all filters to the attempts. */
async function checkListings(clients: Clients, attempts: readonly Attempt[]): Promise<void> {
  for (const windowMs of WINDOWS_MS) {
    const recent = attempts.filter(({ ageMs }) => ageMs <= windowMs);
    const window = windowOf(windowMs);
    for (const capability of ["", "map.draw"]) {
      const { agents } = await clients.analytics.listAgentPerformance({ window, capability });
      expect(agents.map(({ agentId }) => agentId)).toEqual(["ant", "bee", "cat"]);
      for (const { agentId, performance } of agents) {
        const own = recent.filter(
          (each) =>
            each.agentId === agentId && (capability === "" || each.capability === capability),
        );
        expectPerformance(performance, own);
      }
    }
    const { capabilities } = await clients.analytics.listCapabilityPerformance({ window });
    expect(capabilities.map(({ capability }) => capability)).toEqual(["map.draw", "text.analyse"]);
    for (const { capability, performance } of capabilities) {
      const own = recent.filter((each) => each.capability === capability);
      expectPerformance(performance, own);
    }
  }
}

describe("ListAgentPerformance and ListCapabilityPerformance", () => {
  it("agree with a reference computation before, between and after rollups", async () => {
    const clients = replica.as({ sub: "ada", ns: "reference" });
    const early = Array.from({ length: 1_000 }, attempt);
    await recordAll("reference", early);
    await checkListings(clients, early);
    await rolledUp(bench.pool);
    await checkListings(clients, early);
    const late = Array.from({ length: 200 }, attempt);
    await recordAll("reference", late);
    await checkListings(clients, [...early, ...late]);
    await rolledUp(bench.pool);
    await checkListings(clients, [...early, ...late]);
  }, 90_000);

  it("count a sample as soon as it is stored, while rollups run", async () => {
    const clients = replica.as({ sub: "ada", ns: "at-once" });
    for (let n = 1; n <= 40; n++) {
      await replica.record("at-once", [outcomeOf(), outcomeOf({ ageMs: HOUR_MS / 2 })]);
      const { agents } = await clients.analytics.listAgentPerformance({});
      expect(agents[0]?.performance?.attempts).toBe(BigInt(2 * n));
      const window = windowOf(MINUTE_MS);
      const all = await clients.analytics.listCapabilityPerformance({ window });
      expect(Number(all.capabilities[0]?.performance?.attempts)).toBeGreaterThan(0);
    }
  });

  it("look back an hour by default and see nothing older", async () => {
    const clients = replica.as({ sub: "ada", ns: "default-window" });
    await replica.record("default-window", [
      outcomeOf(),
      outcomeOf({ ageMs: 2 * HOUR_MS, agentId: "old" }),
    ]);
    const { agents } = await clients.analytics.listAgentPerformance({});
    expect(agents.map(({ agentId }) => agentId)).toEqual(["agent-1"]);
    const longer = await clients.analytics.listAgentPerformance({ window: windowOf(3 * HOUR_MS) });
    expect(longer.agents.map(({ agentId }) => agentId)).toEqual(["agent-1", "old"]);
  });

  it("count samples whose clock runs ahead", async () => {
    const clients = replica.as({ sub: "ada", ns: "ahead" });
    await replica.record("ahead", [outcomeOf({ ageMs: -4 * MINUTE_MS })]);
    const asked = async () => {
      const { agents } = await clients.analytics.listAgentPerformance({ window: windowOf(1_000) });
      return agents[0]?.performance?.attempts;
    };
    expect(await asked()).toBe(1n);
    await rolledUp(bench.pool);
    expect(await asked()).toBe(1n);
  });

  it("go through pages by name without losing any", async () => {
    const clients = replica.as({ sub: "ada", ns: "pages" });
    const names = Array.from({ length: 23 }, (_, n) => `agent-${String(n).padStart(2, "0")}`);
    const outcomes = names.flatMap((name) => [
      outcomeOf({ agentId: name, capability: `cap.${name}` }),
      outcomeOf({ agentId: name, capability: `cap.${name}`, ageMs: 2 * HOUR_MS }),
    ]);
    await replica.record("pages", outcomes);
    const window = windowOf(3 * HOUR_MS);
    const agents: string[] = [];
    const capabilities: string[] = [];
    let agentToken = "";
    let capabilityToken = "";
    do {
      const page = { pageSize: 5, pageToken: agentToken };
      const answer = await clients.analytics.listAgentPerformance({ window, page });
      agents.push(...answer.agents.map(({ agentId }) => agentId));
      agentToken = answer.page?.nextPageToken ?? "";
    } while (agentToken !== "");
    do {
      const page = { pageSize: 10, pageToken: capabilityToken };
      const answer = await clients.analytics.listCapabilityPerformance({ window, page });
      capabilities.push(...answer.capabilities.map(({ capability }) => capability));
      capabilityToken = answer.page?.nextPageToken ?? "";
    } while (capabilityToken !== "");
    expect(agents).toEqual(names);
    expect(capabilities).toEqual(names.map((name) => `cap.${name}`));
  });

  it("restrict to one agent or capability", async () => {
    const clients = replica.as({ sub: "ada", ns: "only" });
    await replica.record("only", [
      outcomeOf({ agentId: "a" }),
      outcomeOf({ agentId: "b" }),
      outcomeOf({ agentId: "b", capability: "map.draw" }),
    ]);
    for (let round = 0; round < 2; round++) {
      const one = await clients.analytics.listAgentPerformance({ agentId: "b" });
      expect(one.agents).toMatchObject([{ agentId: "b", performance: { attempts: 2n } }]);
      const both = await clients.analytics.listAgentPerformance({
        agentId: "b",
        capability: "map.draw",
      });
      expect(both.agents).toMatchObject([{ agentId: "b", performance: { attempts: 1n } }]);
      const other = await clients.analytics.listCapabilityPerformance({ capability: "map.draw" });
      expect(other.capabilities).toMatchObject([{ capability: "map.draw" }]);
      const none = await clients.analytics.listAgentPerformance({ agentId: "nobody" });
      expect(none.agents).toEqual([]);
      await rolledUp(bench.pool);
    }
  });

  it("show nothing of other namespaces", async () => {
    const stranger = replica.as({ sub: "eve", ns: "nothing-here" });
    expect((await stranger.analytics.listAgentPerformance({})).agents).toEqual([]);
    expect((await stranger.analytics.listCapabilityPerformance({})).capabilities).toEqual([]);
    await expectError(
      stranger.analytics.getJobPerformance({ jobId: "job-1" }),
      "not_found",
      "NO_SAMPLES",
    );
  });

  it("refuse foreign page tokens, windows beyond 30 days, and callers without the scope", async () => {
    const { analytics } = replica.user;
    const page = { pageToken: "made-up" };
    const tooLong = { window: { seconds: 2_592_001n } };
    await expectError(analytics.listAgentPerformance({ page }), "invalid", "PAGE_TOKEN_INVALID");
    await expectError(
      analytics.listCapabilityPerformance({ page }),
      "invalid",
      "PAGE_TOKEN_INVALID",
    );
    await expectError(analytics.listAgentPerformance(tooLong), "invalid", "REQUEST_INVALID");
    await expectError(analytics.listCapabilityPerformance(tooLong), "invalid", "REQUEST_INVALID");
    const writer = replica.as({ sub: "ada", scopes: ["insight:sample:record"] });
    for (const call of [
      () => writer.analytics.listAgentPerformance({}),
      () => writer.analytics.listCapabilityPerformance({}),
      () => writer.analytics.getJobPerformance({ jobId: "job-1" }),
    ]) {
      await expectError(call(), "forbidden", "SCOPE_MISSING");
    }
  });
});

describe("GetJobPerformance", () => {
  it("agrees with a reference computation, in all and by agent", async () => {
    const clients = replica.as({ sub: "ada", ns: "jobs" });
    const attempts = Array.from({ length: 800 }, attempt);
    await recordAll("jobs", attempts);
    for (const jobId of ["job-1", "job-2"]) {
      const own = attempts.filter((each) => each.jobId === jobId);
      const { total, agents } = await clients.analytics.getJobPerformance({ jobId });
      expectPerformance(total, own);
      expect(agents.map(({ agentId }) => agentId)).toEqual(["ant", "bee", "cat"]);
      for (const { agentId, performance } of agents) {
        expectPerformance(
          performance,
          own.filter((each) => each.agentId === agentId),
        );
      }
    }
  });

  it("lists the 32 most frequent reasons", async () => {
    const clients = replica.as({ sub: "ada", ns: "reasons" });
    const outcomes = Array.from({ length: 40 }, (_, n) =>
      Array.from({ length: n + 1 }, () =>
        outcomeOf({ jobId: "varied", success: false, reason: `REASON_${n}` }),
      ),
    ).flat();
    for (let start = 0; start < outcomes.length; start += BATCH_MAX) {
      await replica.record("reasons", outcomes.slice(start, start + BATCH_MAX));
    }
    const expected = Object.fromEntries(
      Array.from({ length: 32 }, (_, n) => [`REASON_${n + 8}`, BigInt(n + 9)]),
    );
    const { total } = await clients.analytics.getJobPerformance({ jobId: "varied" });
    expect(total?.failuresByReason).toEqual(expected);
    const { agents } = await clients.analytics.listAgentPerformance({});
    expect(agents[0]?.performance?.failuresByReason).toEqual(expected);
  });

  it("leaves out what was not measured", async () => {
    const clients = replica.as({ sub: "ada", ns: "unmeasured" });
    const bare = outcomeOf({ jobId: "bare", success: false, reason: "AGENT_LOST" });
    delete bare.queueTime;
    delete bare.runTime;
    await replica.record("unmeasured", [bare]);
    const { total } = await clients.analytics.getJobPerformance({ jobId: "bare" });
    expect(total).toMatchObject({ attempts: 1n, successRate: 0, queueTime: { count: 0n } });
    expect(total?.queueTime?.p50).toBeUndefined();
    const { agents } = await clients.analytics.listAgentPerformance({});
    expect(agents[0]?.performance?.queueTime).toMatchObject({ count: 0n });
    expect(agents[0]?.performance?.queueTime?.max).toBeUndefined();
  });
});
