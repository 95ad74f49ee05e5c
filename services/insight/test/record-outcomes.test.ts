import { WireWriter } from "@nexus/rpc";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPackStore } from "../src/store/pack-store.ts";
import {
  type Bench,
  createBench,
  expectError,
  expectPerformance,
  groupOf,
  newStream,
  outcomeOf,
  type Replica,
  rolledUp,
  tableOf,
} from "./_helpers.ts";

const DAY_MS = 86_400_000;

let bench: Bench;
let replica: Replica;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
});
afterAll(() => bench.close());

type Group = ReturnType<typeof groupOf>;

const record = async (stream: string, groups: readonly Group[], at: Replica = replica) =>
  (await at.service.metrics.recordOutcomes({ stream, groups: [...groups] })).stored;

/** Groups of one outcome each. */
const groupsOf = (jobId: string, from: number, to: number): Group[] =>
  Array.from({ length: to - from + 1 }, (_, n) => groupOf(from + n, [outcomeOf({ jobId })]));

const attemptsOf = async (jobId: string, clients = replica.user) => {
  const { total } = await clients.analytics.getJobPerformance({ jobId });
  return Number(total?.attempts);
};

describe("RecordOutcomes", () => {
  it("stores groups, which count at once", async () => {
    const outcomes = [1, 2, 3].map(() => outcomeOf({ jobId: "first" }));
    const groups = [groupOf(2, outcomes.slice(0, 2)), groupOf(3, outcomes.slice(2))];
    expect(await record(newStream(), groups)).toBe(3);
    expect(await attemptsOf("first")).toBe(3);
  });

  it("makes the same of a table as of its outcomes one by one", async () => {
    const attempts = Array.from({ length: 40 }, (_, n) => ({
      ageMs: 0,
      jobId: n % 3 === 0 ? "tabled-a" : "tabled-b",
      agentId: `tabled-${n % 4}`,
      capability: n % 5 === 0 ? "map.draw" : "text.analyse",
      success: n % 7 !== 0,
      reason: n % 7 === 0 ? "AGENT_ERROR" : "",
      queueUs: n * 1_000,
      runUs: n * 77 + 1,
    }));
    expect(await record(newStream(), [tableOf(1, attempts)])).toBe(40);
    for (const jobId of ["tabled-a", "tabled-b"]) {
      const { total } = await replica.user.analytics.getJobPerformance({ jobId });
      const own = attempts.filter((attempt) => attempt.jobId === jobId);
      expectPerformance(total, own);
    }
    await rolledUp(bench.pool);
    const { agents } = await replica.user.analytics.listAgentPerformance({ agentId: "tabled-1" });
    const own = attempts.filter(({ agentId }) => agentId === "tabled-1");
    expectPerformance(agents[0]?.performance, own);
  });

  it("counts a table once that is told twice, beside groups without one", async () => {
    const stream = newStream();
    const [first] = groupsOf("mixed", 1, 1);
    const attempt = { ageMs: 0, jobId: "mixed", agentId: "a", capability: "c", success: true };
    const one = { ...attempt, reason: "", queueUs: 1, runUs: 1 };
    const groups = [first!, tableOf(2, [one, one])];
    expect(await record(stream, groups.slice(0, 1))).toBe(1);
    expect(await record(stream, groups)).toBe(2);
    expect(await record(stream, groups)).toBe(0);
    expect(await attemptsOf("mixed")).toBe(3);
  });

  it.each<[string, readonly number[]]>([
    ["of another kind than its own", [1, 0, 1, 1, 1]],
    ["of another job than its own", [0, 1, 1, 1, 1]],
    ["that is cut off", [0, 0, 1, 1, 1, 0]],
    ["with a number that is too long", [0, 0, 1, 1, 2 ** 50]],
  ])("refuses a table with an attempt %s, and stores nothing of the call", async (_name, row) => {
    const jobId = `broken-${row.join("-")}`;
    const stream = newStream();
    const [good] = groupsOf(jobId, 1, 1);
    const attempt = { ageMs: 0, jobId, agentId: "a", capability: "c", success: true, reason: "" };
    const { table } = tableOf(2, [{ ...attempt, queueUs: 1, runUs: 1 }]);
    const writer = new WireWriter();
    for (const number of row) writer.varint(number);
    const broken = { position: 2n, table: { ...table, attempts: writer.take() } } as Group;
    await expectError(record(stream, [good!, broken]), "invalid", "REQUEST_INVALID");
    expect(await record(stream, [good!])).toBe(1);
  });

  it("refuses a group without any attempt", async () => {
    await expectError(record(newStream(), [groupOf(1, [])]), "invalid", "REQUEST_INVALID");
  });

  it("counts a call that is repeated whole once", async () => {
    const stream = newStream();
    const groups = groupsOf("again", 1, 3);
    expect(await record(stream, groups)).toBe(3);
    expect(await record(stream, groups)).toBe(0);
    expect(await attemptsOf("again")).toBe(3);
  });

  it("counts only what is new of a call with other boundaries", async () => {
    const stream = newStream();
    const groups = groupsOf("bounds", 1, 9);
    expect(await record(stream, groups.slice(0, 5))).toBe(5);
    expect(await record(stream, groups.slice(0, 8))).toBe(3);
    expect(await record(stream, groups.slice(3, 6))).toBe(0);
    expect(await record(stream, groups.slice(6))).toBe(1);
    expect(await attemptsOf("bounds")).toBe(9);
  });

  it("takes positions with gaps between them", async () => {
    const stream = newStream();
    const [first, second, third] = [10, 500, 2 ** 50].map((n) => groupsOf("gaps", n, n)[0]!);
    expect(await record(stream, [first!, second!])).toBe(2);
    expect(await record(stream, [third!])).toBe(1);
    expect(await record(stream, [second!, third!])).toBe(0);
    expect(await attemptsOf("gaps")).toBe(3);
  });

  it("keeps the same positions of two streams apart", async () => {
    const [one, two] = [newStream(), newStream()];
    expect(await record(one, groupsOf("streams", 1, 4))).toBe(4);
    expect(await record(two, groupsOf("streams", 1, 4))).toBe(4);
    expect(await attemptsOf("streams")).toBe(8);
  });

  it("counts once what many tell at the same time, also to two replicas and with two streams", async () => {
    const other = await bench.start();
    const streams = [newStream(), newStream()].map((stream) => {
      return { stream, groups: groupsOf("rush", 1, 40) };
    });
    const calls = Array.from({ length: 24 }, (_, n) => {
      const { stream, groups } = streams[n % 2]!;
      return record(
        stream,
        groups.slice(0, 10 + ((n % 8) >> 1) * 10),
        n % 3 === 0 ? other : replica,
      );
    });
    const answers = await Promise.all(calls);
    expect(answers.reduce((sum, stored) => sum + stored, 0)).toBe(80);
    expect(await attemptsOf("rush")).toBe(80);
    expect(await attemptsOf("rush", other.user)).toBe(80);
  });

  it("counts once what was committed for a sender that did not hear so", async () => {
    const stream = newStream();
    const groups = groupsOf("unheard", 1, 2);
    await record(stream, groups.slice(0, 1));
    const blocker = await bench.pool.connect();
    await blocker.query("BEGIN");
    await blocker.query("SELECT FROM outcome_streams WHERE stream = $1 FOR UPDATE", [stream]);
    const stop = new AbortController();
    const call = replica.service.metrics.recordOutcomes(
      { stream, groups },
      { signal: stop.signal },
    );
    const isWaiting = async () => {
      const { rows } = await bench.pool.query(
        "SELECT FROM pg_stat_activity WHERE application_name = 'nexus-insight' AND wait_event_type = 'Lock'",
      );
      return rows.length > 0;
    };
    await waitFor(isWaiting, { what: "the call to reach the stream" });
    stop.abort();
    await expect(call).rejects.toThrow();
    await blocker.query("COMMIT");
    blocker.release();
    await waitFor(async () => (await attemptsOf("unheard")) === 2, { what: "the commit" });
    expect(await record(stream, groups)).toBe(0);
    expect(await attemptsOf("unheard")).toBe(2);
  });

  it("stores nothing of a call that fails, and all of it when it is repeated", async () => {
    const stream = newStream();
    const good = groupsOf("half", 1, 2);
    await bench.pool.query(
      "ALTER TABLE attempt_packs ADD CONSTRAINT no_half CHECK (job_id <> 'half')",
    );
    await expect(record(stream, good)).rejects.toThrow();
    await bench.pool.query("ALTER TABLE attempt_packs DROP CONSTRAINT no_half");
    await expectError(attemptsOf("half"), "not_found", "NO_SAMPLES");
    expect(await record(stream, good)).toBe(2);
    expect(await attemptsOf("half")).toBe(2);
  });

  it("forgets a stream after 48 h of silence, and not before", async () => {
    const [silent, quiet] = [newStream(), newStream()];
    for (const stream of [silent, quiet]) await record(stream, groupsOf("past", 5, 5));
    const age =
      "UPDATE outcome_streams SET heard_at = now() - make_interval(hours => $2) WHERE stream = $1";
    await bench.pool.query(age, [silent, 49]);
    await bench.pool.query(age, [quiet, 47]);
    await createPackStore(bench.pool).keepPartitions(30 * DAY_MS);
    expect(await record(quiet, groupsOf("past", 5, 5))).toBe(0);
    expect(await record(silent, groupsOf("past", 6, 6))).toBe(1);
    expect(await attemptsOf("past")).toBe(3);
  });

  it("takes a group of 1 000 outcomes and 256 groups at once, and no more", async () => {
    const outcomes = Array.from({ length: 1_001 }, () => outcomeOf({ jobId: "many" }));
    expect(await record(newStream(), [groupOf(1, outcomes.slice(1))])).toBe(1_000);
    expect(await record(newStream(), groupsOf("many", 1, 256))).toBe(256);
    for (const groups of [[groupOf(1, outcomes)], groupsOf("many", 1, 257), [], [groupOf(1, [])]]) {
      await expectError(record(newStream(), groups), "invalid", "REQUEST_INVALID");
    }
    await expectError(record("", groupsOf("many", 1, 1)), "invalid", "REQUEST_INVALID");
  });

  it.each([
    ["more than a day old", { ageMs: 86_400_000 + 60_000 }],
    ["more than five minutes ahead", { ageMs: -360_000 }],
  ])(
    "refuses a call with an outcome that is %s, and stores nothing of it",
    async (name, attempt) => {
      const stream = newStream();
      const good = groupOf(1, [outcomeOf({ jobId: name })]);
      const bad = groupOf(2, [outcomeOf(attempt)]);
      await expectError(record(stream, [good, bad]), "invalid", "SAMPLE_TIME_INVALID");
      await expectError(attemptsOf(name), "not_found", "NO_SAMPLES");
      expect(await record(stream, [good])).toBe(1);
    },
  );

  it("refuses positions that do not rise", async () => {
    const [first, second] = groupsOf("order", 1, 2) as [Group, Group];
    for (const groups of [
      [second, first],
      [first, first],
    ]) {
      await expectError(record(newStream(), groups), "invalid", "POSITIONS_NOT_RISING");
    }
  });

  it("refuses text that cannot be stored", async () => {
    for (const bad of [{ jobId: "NUL\0" }, { agentId: "NUL\0" }]) {
      const groups = [groupOf(1, [outcomeOf(bad)])];
      await expectError(record(newStream(), groups), "invalid", "TEXT_NOT_STORABLE");
    }
  });

  it("keeps namespaces apart", async () => {
    const tenant = groupOf(1, [outcomeOf({ jobId: "shared" })], "tenant");
    expect(await record(newStream(), [tenant, groupOf(2, [outcomeOf({ jobId: "shared" })])])).toBe(
      2,
    );
    expect(await attemptsOf("shared")).toBe(1);
    expect(await attemptsOf("shared", replica.as({ sub: "ada", ns: "tenant" }))).toBe(1);
  });

  it("needs the scope, and a service to hold it", async () => {
    const request = { stream: newStream(), groups: groupsOf("scopes", 1, 1) };
    const reader = replica.as({ sub: "ada", scopes: ["insight:performance:read"] });
    await expectError(reader.metrics.recordOutcomes(request), "forbidden", "SCOPE_MISSING");
    const root = replica.as({ sub: "root", scopes: ["*"] });
    await expectError(root.metrics.recordOutcomes(request), "forbidden", "SERVICE_ONLY");
  });

  it("takes outcomes again after the loss of every connection to Postgres", async () => {
    await bench.cutConnections();
    const stream = newStream();
    const groups = groupsOf("after-the-loss", 1, 1);
    await waitFor(
      async () => {
        await record(stream, groups);
        return true;
      },
      { what: "an outcome after the loss" },
    );
    expect(await attemptsOf("after-the-loss")).toBe(1);
  });
});
