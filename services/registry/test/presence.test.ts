import { setTimeout } from "node:timers/promises";
import { createPool, type Pool } from "@nexus/postgres";
import { AgentState } from "@nexus/proto/registry";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bench,
  connect,
  createBench,
  expectError,
  online,
  openWatch,
  type Replica,
  registration,
} from "./_helpers.ts";

const LOST_AFTER_MS = 1_200;

let bench: Bench;
let replica: Replica;
let pool: Pool;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start({
    presenceLostAfterMs: LOST_AFTER_MS,
    presenceSweepIntervalMs: 50,
    expirySweepIntervalMs: 50,
  });
  pool = createPool({
    url: bench.database.url,
    max: 2,
    applicationName: "test",
    schema: "registry",
  });
});
afterAll(async () => {
  await pool.close();
  await bench.close();
});

const report = (...presences: object[]) =>
  replica.service.presence.reportPresence({ routerId: "router-1", presences });

const stateOf = async (agentId: string) => {
  const { agent } = await replica.user.registry.getAgent({ agentId });
  return agent?.state;
};

/** Renews an agent's presence until stopped, so that it is not lost while a test looks at something else. */
function keepAlive(entry: object): () => Promise<void> {
  const stop = new AbortController();
  const done = (async () => {
    while (!stop.signal.aborted) {
      await report(entry);
      await setTimeout(LOST_AFTER_MS / 6);
    }
  })();
  return () => {
    stop.abort();
    return done;
  };
}

describe("ReportPresence", () => {
  it("brings agents online and keeps what their sessions say", async () => {
    await replica.user.registry.registerAgent(registration("here", { slots: 5 }));
    await report(online("here", { slots: 4, busySlots: 3 }));
    const { agent } = await replica.user.registry.getAgent({ agentId: "here" });
    expect(agent).toMatchObject({ state: AgentState.ONLINE, slots: 5, busySlots: 3 });
    expect(agent?.lastSeenTime).toBeDefined();
    await report(online("here", { state: AgentState.OFFLINE, slots: 4, busySlots: 3 }));
    const gone = await replica.user.registry.getAgent({ agentId: "here" });
    expect(gone.agent).toMatchObject({ state: AgentState.OFFLINE, busySlots: 0 });
  });

  it("ignores a report of an older session, and takes one of a newer", async () => {
    await connect(replica, "epochs", { presence: { epoch: 5n } });
    await report(online("epochs", { epoch: 4n, state: AgentState.LOST }));
    expect(await stateOf("epochs")).toBe(AgentState.ONLINE);
    await report(online("epochs", { epoch: 6n, state: AgentState.BUSY, busySlots: 1 }));
    expect(await stateOf("epochs")).toBe(AgentState.BUSY);
  });

  it("counts agents that are not registered and drops their reports", async () => {
    await replica.user.registry.registerAgent(registration("real"));
    const { unknown } = await report(
      online("nobody"),
      online("real"),
      online("real", { namespace: "elsewhere" }),
    );
    expect(unknown).toBe(2);
    expect(await stateOf("real")).toBe(AgentState.ONLINE);
    const { agent } = await replica.user.registry.registerAgent(registration("nobody"));
    expect(agent?.state).toBe(AgentState.OFFLINE);
  });

  it("writes a change when something changed and none for a renewal", async () => {
    await connect(replica, "quiet");
    const stop = keepAlive(online("quiet"));
    const seen = (await replica.user.registry.getAgent({ agentId: "quiet" })).agent?.lastSeenTime;
    await waitFor(
      async () => {
        const { agent } = await replica.user.registry.getAgent({ agentId: "quiet" });
        return agent?.lastSeenTime?.seconds !== seen?.seconds;
      },
      { what: "renewals to show" },
    );
    const { rows } = await pool.query(
      "SELECT part FROM agent_changes WHERE agent_id = 'quiet' ORDER BY revision",
    );
    expect(rows).toEqual([{ part: "record" }, { part: "presence" }]);
    await report(online("quiet", { state: AgentState.BUSY, busySlots: 1 }));
    expect(
      (await pool.query("SELECT 1 FROM agent_changes WHERE agent_id = 'quiet'")).rowCount,
    ).toBe(3);
    await stop();
  });

  it("takes a full batch, and the same batch again", async () => {
    const ids = Array.from({ length: 512 }, (_, n) => `batch-${n}`);
    await pool.query(
      `INSERT INTO agents (namespace, agent_id, display_name, labels, region, slots, ttl_ms, content_hash, size_bytes,
         revision, registered_at, updated_at, expires_at)
       SELECT 'default', id, '', '{}', '', 1, 60000, '', 500, nextval('record_revisions'), now(), now(),
         now() + interval '1 minute'
       FROM unnest($1::text[]) AS id`,
      [ids],
    );
    const batch = ids.map((agentId) => online(agentId));
    expect((await report(...batch)).unknown).toBe(0);
    expect((await report(...batch)).unknown).toBe(0);
    const { rows } = await pool.query<{ online: number; changes: number }>(
      `SELECT (SELECT count(*)::int FROM presence WHERE state = 'ONLINE' AND agent_id LIKE 'batch-%') AS online,
         (SELECT count(*)::int FROM agent_changes WHERE agent_id LIKE 'batch-%') AS changes`,
    );
    expect(rows).toEqual([{ online: 512, changes: 512 }]);
    await expectError(report(...batch, online("one-more")), "invalid", "REQUEST_INVALID");
  });

  it("survives two routers that report the same agents in opposite order", async () => {
    const ids = Array.from({ length: 40 }, (_, n) => `torn-${n}`);
    await Promise.all(
      ids.map((agentId) => replica.user.registry.registerAgent(registration(agentId))),
    );
    const rounds = Array.from({ length: 20 }, (_, n) => {
      const order = n % 2 === 0 ? ids : ids.toReversed();
      return report(...order.map((agentId) => online(agentId, { slots: 1 + (n % 3) })));
    });
    const answers = await Promise.all(rounds);
    expect(answers.every(({ unknown }) => unknown === 0)).toBe(true);
  });

  it("refuses what the contract does, and callers without the scope", async () => {
    await expectError(
      report(online("x", { state: AgentState.UNSPECIFIED })),
      "invalid",
      "REQUEST_INVALID",
    );
    await expectError(report(online("x", { epoch: 0n })), "invalid", "REQUEST_INVALID");
    const user = replica.as({ sub: "ada", scopes: ["registry:agent:*"] });
    await expectError(
      user.presence.reportPresence({ routerId: "router-1", presences: [online("x")] }),
      "forbidden",
      "SCOPE_MISSING",
    );
  });
});

describe("the lifecycle", () => {
  it("marks an agent LOST that is silent, tells watchers, and takes it back", async () => {
    const watch = openWatch(replica.user);
    await watch.until(({ snapshotComplete }) => snapshotComplete);
    await connect(replica, "silent", { presence: { busySlots: 1, slots: 2 } });
    const lost = await watch.until(({ agents }) =>
      agents.some(({ agentId, state }) => agentId === "silent" && state === AgentState.LOST),
    );
    const agent = lost.at(-1)?.agents.find(({ agentId }) => agentId === "silent");
    expect(agent?.busySlots).toBe(0);
    expect(await stateOf("silent")).toBe(AgentState.LOST);
    await report(online("silent"));
    await watch.until(({ agents }) =>
      agents.some(({ agentId, state }) => agentId === "silent" && state === AgentState.ONLINE),
    );
    watch.close();
  });

  it("leaves agents alone that are renewed, or said goodbye", async () => {
    await connect(replica, "lively");
    await connect(replica, "polite", { presence: { state: AgentState.OFFLINE } });
    await connect(replica, "canary");
    const stop = keepAlive(online("lively"));
    await waitFor(async () => (await stateOf("canary")) === AgentState.LOST, {
      what: "the canary to be lost",
    });
    expect(await stateOf("lively")).toBe(AgentState.ONLINE);
    expect(await stateOf("polite")).toBe(AgentState.OFFLINE);
    await stop();
  });

  it("removes a record when its time is over, and not while its agent is there", async () => {
    for (const agentId of ["mayfly", "survivor", "recent"]) {
      await replica.user.registry.registerAgent(registration(agentId, { ttl: { seconds: 60n } }));
    }
    await report(online("survivor"), online("recent", { state: AgentState.OFFLINE }));
    const stop = keepAlive(online("survivor"));
    const watch = openWatch(replica.user);
    await watch.until(({ snapshotComplete }) => snapshotComplete);
    // An hour passes for these records, and two minutes for the one that has gone.
    await pool.query(
      `UPDATE agents SET expires_at = expires_at - interval '1 hour'
       WHERE agent_id IN ('mayfly', 'survivor', 'recent')`,
    );
    await watch.until(({ removed }) => removed.some(({ agentId }) => agentId === "mayfly"));
    await expectError(
      replica.user.registry.getAgent({ agentId: "mayfly" }),
      "not_found",
      "AGENT_NOT_FOUND",
    );
    expect(await stateOf("survivor")).toBe(AgentState.ONLINE);
    expect(await stateOf("recent")).toBe(AgentState.OFFLINE);
    await pool.query(
      `WITH past AS (UPDATE agents SET expires_at = now() - interval '1 second' WHERE agent_id = 'recent')
       UPDATE presence SET seen_at = now() - interval '2 minutes' WHERE agent_id = 'recent'`,
    );
    await watch.until(({ removed }) => removed.some(({ agentId }) => agentId === "recent"));
    watch.close();
    await stop();
  });
});
