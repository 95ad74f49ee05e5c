import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createPool, type Pool } from "@nexus/postgres";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgetStreams } from "../src/store/reputation-store.ts";
import {
  type Bench,
  createBench,
  expectError,
  group,
  newStream,
  outcome,
  type Replica,
  registration,
  reportOf,
  requestId,
  tableGroup,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
});
afterAll(() => bench.close());

/** Tells outcomes on a stream of their own. */
const report = (...outcomes: object[]) =>
  replica.service.outcome.reportOutcomes(reportOf(...outcomes));

type Group = ReturnType<typeof group> | ReturnType<typeof tableGroup>;

/** Tells groups of a stream; returns how many outcomes counted. */
const tell = async (stream: string, groups: readonly Group[], at: Replica = replica) =>
  (await at.service.outcome.reportOutcomes({ stream, groups: [...groups] })).counted;

/** Groups of one outcome each. */
const groupsOf = (agentId: string, from: number, to: number): Group[] =>
  Array.from({ length: to - from + 1 }, (_, n) =>
    group(from + n, outcome(agentId, `${agentId}-${from + n}`)),
  );

const register = (agentId: string) => replica.user.registry.registerAgent(registration(agentId));

/** Those that something was counted for. */
const reputationsOf = async (agentId: string) => {
  const { agent } = await replica.user.registry.getAgent({ agentId });
  return (agent?.reputations ?? []).filter(({ evidence }) => evidence > 0);
};

/** Reaches the tables past the service. */
async function onTables<T>(work: (pool: Pool) => Promise<T>): Promise<T> {
  const { url } = bench.database;
  const pool = createPool({ url, max: 2, applicationName: "test", schema: "registry" });
  try {
    return await work(pool);
  } finally {
    await pool.close();
  }
}

describe("ReportOutcomes", () => {
  it("turns outcomes into reputations with their causes", async () => {
    await register("judged");
    const { counted } = await report(
      outcome("judged", "j-1", { workTime: { seconds: 1n } }),
      outcome("judged", "j-2", { workTime: { seconds: 2n } }),
      outcome("judged", "j-3", { success: false, reason: "AGENT_ERROR" }),
      outcome("judged", "j-4", { capability: "map.draw" }),
    );
    expect(counted).toBe(4);
    const [first, second] = await reputationsOf("judged");
    expect(first).toMatchObject({ capability: "map.draw", score: 1, succeeded: 1n, failed: 0n });
    expect(second).toMatchObject({
      capability: "text.analyse",
      succeeded: 2n,
      failed: 1n,
      lastCause: "AGENT_ERROR j-3",
      meanLatency: { seconds: 1n, nanos: 200_000_000 },
    });
    expect(second?.score).toBeCloseTo(2 / 3, 6);
    expect(second?.evidence).toBeCloseTo(3, 4);
    expect(second?.lowerBound).toBeGreaterThan(0);
    expect(second?.lowerBound).toBeLessThan(first?.lowerBound ?? 0);
    expect(second?.updateTime).toBeDefined();
  });

  it("makes the same of a table as of its outcomes one by one", async () => {
    await register("tabled");
    await register("single");
    const ends = [
      { ms: 1_000, kind: {} },
      { ms: 5_000, kind: { success: false, reason: "AGENT_ERROR" } },
      { ms: 2_500, kind: {} },
      { ms: undefined, kind: { success: false, reason: "AGENT_LOST" } },
      { ms: 40, kind: {} },
      { ms: 7, kind: { success: false, reason: "CANCELLED" } },
    ];
    const kinds = [0, 1, 3, 5].map((n, place) => ({
      ...ends[n]?.kind,
      agentId: "tabled",
      lastTaskId: ["t-4", "t-1", "t-3", "t-5"][place],
    }));
    const placeOf = [0, 1, 0, 2, 0, 3];
    const rows = ends.map(({ ms }, n) => {
      return [placeOf[n]!, n % 2, 1, 1, ms === undefined ? 0 : ms * 1_000 + 1];
    });
    const single = ends.map(({ ms, kind }, n) => {
      const workTime = ms === undefined ? undefined : durationFromMs(ms);
      return outcome("single", `t-${n}`, { ...kind, workTime });
    });
    expect(await tell(newStream(), [tableGroup(1, kinds, rows)])).toBe(6);
    expect(await tell(newStream(), [group(1, ...single)])).toBe(6);
    const [tabled] = await reputationsOf("tabled");
    const [expected] = await reputationsOf("single");
    const { succeeded, failed, meanLatency } = expected!;
    expect(tabled).toMatchObject({ succeeded, failed, meanLatency, lastCause: "SUCCEEDED t-4" });
    expect(expected?.lastCause).toBe("SUCCEEDED t-4");
    expect(tabled?.score).toBeCloseTo(expected!.score, 9);
    expect(tabled?.evidence).toBeCloseTo(expected!.evidence, 4);
  });

  it("counts a table once that is told twice, beside groups without one", async () => {
    await register("mixed");
    const stream = newStream();
    const table = tableGroup(
      2,
      [{ agentId: "mixed", lastTaskId: "m-2" }],
      [
        [0, 0, 1, 1, 1],
        [0, 1, 1, 1, 1],
      ],
    );
    const groups = [group(1, outcome("mixed", "m-1")), table];
    expect(await tell(stream, groups.slice(0, 1))).toBe(1);
    expect(await tell(stream, groups)).toBe(2);
    expect(await tell(stream, groups.slice(1))).toBe(0);
    expect(await reputationsOf("mixed")).toMatchObject([
      { succeeded: 3n, lastCause: "SUCCEEDED m-2" },
    ]);
  });

  it.each<[string, readonly number[]]>([
    ["of another kind than its own", [1, 0, 1, 1, 1]],
    ["of another job than its own", [0, 2, 1, 1, 1]],
    ["that is cut off", [0, 0, 1, 1, 1, 0]],
    ["with a number that is too long", [0, 0, 1, 1, 2 ** 50]],
  ])("refuses a table with an attempt %s, and counts nothing of the call", async (name, row) => {
    const agentId = `broken-${row.join("-")}`;
    await register(agentId);
    const stream = newStream();
    const good = group(1, outcome(agentId, name.slice(0, 60)));
    const broken = tableGroup(2, [{ agentId, lastTaskId: "b" }], [row]);
    await expectError(tell(stream, [good, broken]), "invalid", "REQUEST_INVALID");
    expect(await tell(stream, [good])).toBe(1);
  });

  it("refuses a group without any attempt", async () => {
    await expectError(tell(newStream(), [group(1)]), "invalid", "REQUEST_INVALID");
  });

  it("counts a call that is repeated whole once", async () => {
    await register("again");
    const stream = newStream();
    const groups = groupsOf("again", 1, 3);
    expect(await tell(stream, groups)).toBe(3);
    expect(await tell(stream, groups)).toBe(0);
    expect(await reputationsOf("again")).toMatchObject([{ succeeded: 3n }]);
  });

  it("counts only what is new of a call with other boundaries", async () => {
    await register("bounds");
    const stream = newStream();
    const groups = groupsOf("bounds", 1, 9);
    expect(await tell(stream, groups.slice(0, 5))).toBe(5);
    expect(await tell(stream, groups.slice(0, 8))).toBe(3);
    expect(await tell(stream, groups.slice(3, 6))).toBe(0);
    expect(await tell(stream, groups.slice(6))).toBe(1);
    expect(await reputationsOf("bounds")).toMatchObject([{ succeeded: 9n }]);
  });

  it("counts once what many tell at the same time, also to two replicas", async () => {
    await register("rush");
    const other = await bench.start();
    const stream = newStream();
    const groups = groupsOf("rush", 1, 40);
    const calls = Array.from({ length: 12 }, (_, n) =>
      tell(stream, groups.slice(0, 10 + (n % 4) * 10), n % 3 === 0 ? other : replica),
    );
    const answers = await Promise.all(calls);
    expect(answers.reduce((sum, counted) => sum + counted, 0)).toBe(40);
    expect(await reputationsOf("rush")).toMatchObject([{ succeeded: 40n }]);
    await other.stop();
  });

  it("loses nothing of agents that several streams tell of at once, in any order", async () => {
    const agentIds = ["ant", "bee", "cat", "dog"];
    for (const agentId of agentIds) await register(agentId);
    const tellAll = async (round: number) => {
      const stream = newStream();
      const order = round % 2 === 0 ? agentIds : agentIds.toReversed();
      for (let position = 1; position <= 10; position += 1) {
        const outcomes = order.map((agentId) => outcome(agentId, `${round}-${position}`));
        expect(await tell(stream, [group(position, ...outcomes)])).toBe(agentIds.length);
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, round) => tellAll(round)));
    for (const agentId of agentIds) {
      const [reputation] = await reputationsOf(agentId);
      expect(reputation).toMatchObject({ succeeded: 60n });
      expect(reputation?.evidence).toBeCloseTo(60, 2);
    }
  });

  it("counts once what was committed for a sender that did not hear so", async () => {
    await register("unheard");
    const stream = newStream();
    const groups = groupsOf("unheard", 1, 2);
    await tell(stream, groups.slice(0, 1));
    await onTables(async (pool) => {
      const blocker = await pool.connect();
      await blocker.query("BEGIN");
      await blocker.query("SELECT FROM outcome_streams WHERE stream = $1 FOR UPDATE", [stream]);
      const stop = new AbortController();
      const { signal } = stop;
      const call = replica.service.outcome.reportOutcomes({ stream, groups }, { signal });
      const isWaiting = async () => {
        const { rows } = await pool.query(
          "SELECT FROM pg_stat_activity WHERE application_name = 'nexus-registry' AND wait_event_type = 'Lock'",
        );
        return rows.length > 0;
      };
      await waitFor(isWaiting, { what: "the call to reach the stream" });
      stop.abort();
      await expect(call).rejects.toThrow();
      await blocker.query("COMMIT");
      blocker.release();
    });
    const counted = async () => (await reputationsOf("unheard"))[0]?.succeeded === 2n;
    await waitFor(counted, { what: "the commit" });
    expect(await tell(stream, groups)).toBe(0);
    expect(await reputationsOf("unheard")).toMatchObject([{ succeeded: 2n }]);
  });

  it("counts nothing of a call that fails, and all of it when it is repeated", async () => {
    await register("half");
    const stream = newStream();
    const groups = groupsOf("half", 1, 2);
    const constraint = "ALTER TABLE reputations";
    await onTables((pool) =>
      pool.query(`${constraint} ADD CONSTRAINT no_half CHECK (agent_id <> 'half')`),
    );
    await expect(tell(stream, groups)).rejects.toThrow();
    await onTables((pool) => pool.query(`${constraint} DROP CONSTRAINT no_half`));
    expect(await reputationsOf("half")).toEqual([]);
    expect(await tell(stream, groups)).toBe(2);
    expect(await reputationsOf("half")).toMatchObject([{ succeeded: 2n }]);
  });

  it("forgets a stream after 48 h of silence, and not before", async () => {
    await register("past");
    const [silent, quiet] = [newStream(), newStream()];
    for (const stream of [silent, quiet]) await tell(stream, groupsOf("past", 5, 5));
    await onTables(async (pool) => {
      const age =
        "UPDATE outcome_streams SET heard_at = now() - make_interval(hours => $2) WHERE stream = $1";
      await pool.query(age, [silent, 49]);
      await pool.query(age, [quiet, 47]);
      await forgetStreams(pool);
    });
    expect(await tell(quiet, groupsOf("past", 5, 5))).toBe(0);
    expect(await tell(silent, groupsOf("past", 6, 6))).toBe(1);
    expect(await reputationsOf("past")).toMatchObject([{ succeeded: 3n }]);
  });

  it("refuses positions that do not rise", async () => {
    const [first, second] = groupsOf("order", 1, 2) as [Group, Group];
    for (const groups of [
      [second, first],
      [first, first],
    ]) {
      await expectError(tell(newStream(), groups), "invalid", "POSITIONS_NOT_RISING");
    }
  });

  it("does not hold what was not the agent's doing against it", async () => {
    await register("blameless");
    const { counted } = await report(
      outcome("blameless", "b-1", { success: false, reason: "JOB_CANCELLED" }),
      outcome("blameless", "b-2", { success: false, reason: "ASSIGNMENT_REFUSED" }),
    );
    expect(counted).toBe(2);
    expect(await reputationsOf("blameless")).toEqual([]);
    await report(outcome("blameless", "b-3", { success: false, reason: "AGENT_LOST" }));
    expect(await reputationsOf("blameless")).toMatchObject([{ failed: 1n, score: 0 }]);
    expect((await reputationsOf("blameless"))[0]?.evidence).toBeCloseTo(0.5, 4);
  });

  it("accepts outcomes of agents that are gone and counts them nowhere, also when they come back", async () => {
    await register("gone");
    await replica.user.registry.deregisterAgent({ requestId: requestId(), agentId: "gone" });
    const stream = newStream();
    const groups = [
      group(1, outcome("gone", "g-1"), outcome("gone", "g-2", { namespace: "elsewhere" })),
    ];
    expect(await tell(stream, groups)).toBe(0);
    await register("gone");
    expect(await tell(stream, groups)).toBe(0);
    expect(await reputationsOf("gone")).toEqual([]);
  });

  it("keeps namespaces apart", async () => {
    await register("double");
    const elsewhere = replica.as({ sub: "ada", ns: "elsewhere" });
    await elsewhere.registry.registerAgent(registration("double"));
    await report(outcome("double", "d-1", { namespace: "elsewhere" }));
    expect(await reputationsOf("double")).toEqual([]);
    const { agent } = await elsewhere.registry.getAgent({ agentId: "double" });
    expect(agent?.reputations).toHaveLength(1);
  });

  it("takes a group of 1 000 outcomes and 256 groups at once, and no more", async () => {
    await register("many");
    const outcomes = Array.from({ length: 1_001 }, (_, n) => outcome("many", `many-${n}`));
    expect(await tell(newStream(), [group(1, ...outcomes.slice(1))])).toBe(1_000);
    expect(await tell(newStream(), groupsOf("many", 1, 256))).toBe(256);
    for (const groups of [[group(1, ...outcomes)], groupsOf("many", 1, 257), [], [group(1)]]) {
      await expectError(tell(newStream(), groups), "invalid", "REQUEST_INVALID");
    }
    await expectError(tell("", groupsOf("many", 1, 1)), "invalid", "REQUEST_INVALID");
  });

  it("needs the scope, and a service to hold it", async () => {
    const user = replica.as({ sub: "ada", scopes: ["registry:agent:*"] });
    await expectError(
      user.outcome.reportOutcomes(reportOf(outcome("x", "x-1"))),
      "forbidden",
      "SCOPE_MISSING",
    );
    const tenant = replica.as({ sub: "root", ns: "team-b", scopes: ["*"] });
    await expectError(
      tenant.outcome.reportOutcomes(reportOf(outcome("x", "x-1"))),
      "forbidden",
      "SERVICE_ONLY",
    );
  });
});
