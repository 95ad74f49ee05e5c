import { createPool, type Pool, withTransaction } from "@nexus/postgres";
import { AgentState } from "@nexus/proto/registry";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appendChanges, createChangeFeed } from "../src/store/change-feed.ts";
import {
  type Bench,
  connect,
  createBench,
  expectError,
  online,
  openWatch,
  type Replica,
  registration,
  requestId,
} from "./_helpers.ts";

let bench: Bench;
let replica: Replica;
let pool: Pool;
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
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

const clientsOf = (ns: string) => replica.as({ sub: "ada", ns });

describe("WatchAgents", () => {
  it("sends a snapshot, then registrations, presence, updates and removals in order", async () => {
    const user = clientsOf("ordered");
    await user.registry.registerAgent(registration("first"));
    const watch = openWatch(user);
    const snapshot = await watch.next();
    expect(snapshot).toMatchObject({
      agents: [{ agentId: "first" }],
      snapshotComplete: true,
      reset: false,
    });
    await user.registry.registerAgent(registration("second"));
    await replica.service.presence.reportPresence({
      routerId: "router-1",
      presences: [online("second", { namespace: "ordered" })],
    });
    await user.registry.updateAgent({ requestId: requestId(), agentId: "second", slots: 3 });
    await user.registry.deregisterAgent({ requestId: requestId(), agentId: "second" });
    const told: string[] = [];
    await watch.until(({ agents, removed }) => {
      for (const { state, slots } of agents) told.push(`${AgentState[state]} ${slots}`);
      for (const { namespace, agentId } of removed) told.push(`removed ${namespace} ${agentId}`);
      return removed.length > 0;
    });
    expect(told.at(-1)).toBe("removed ordered second");
    expect(told).toContain("OFFLINE 1");
    watch.close();
  });

  it("goes on where it was, also on another replica", async () => {
    const other = await bench.start();
    const user = clientsOf("resumed");
    const watch = openWatch(user);
    await watch.next();
    await user.registry.registerAgent(registration("seen"));
    const { resumeToken } = (await watch.until(({ agents }) => agents.length > 0)).at(-1)!;
    watch.close();
    await user.registry.registerAgent(registration("missed"));
    const elsewhere = openWatch(other.as({ sub: "ada", ns: "resumed" }), { resumeToken });
    const missed = await elsewhere.until(({ agents }) => agents.length > 0);
    expect(missed.flatMap(({ agents }) => agents.map(({ agentId }) => agentId))).toEqual([
      "missed",
    ]);
    expect(missed.some(({ reset, snapshotComplete }) => reset || snapshotComplete)).toBe(false);
    elsewhere.close();
    await other.stop();
  });

  it("says so and starts anew when the history is gone", async () => {
    const user = clientsOf("forgotten");
    const watch = openWatch(user);
    const { resumeToken } = await watch.next();
    watch.close();
    await user.registry.registerAgent(registration("one"));
    await user.registry.registerAgent(registration("two"));
    const feed = createChangeFeed(pool);
    await feed.prune({ ageMs: 3_600_000, rows: 0 });
    const again = openWatch(user, { resumeToken });
    expect(await again.next()).toMatchObject({ reset: true, agents: [] });
    const snapshot = await again.next();
    expect(snapshot.snapshotComplete).toBe(true);
    expect(snapshot.agents.map(({ agentId }) => agentId).sort()).toEqual(["one", "two"]);
    again.close();
  });

  it("is never silent for five seconds", async () => {
    const watch = openWatch(clientsOf("quiet"));
    await watch.next();
    const startedAtMs = performance.now();
    expect(await watch.next()).toMatchObject({ agents: [], removed: [], reset: false });
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    watch.close();
  });

  it("ends a watcher that does not read, which may then resume", async () => {
    const user = clientsOf("slow");
    await insertAgents("slow", 600);
    const watch = openWatch(user);
    await watch.until(({ snapshotComplete }) => snapshotComplete);
    // Fills what the connection buffers, then more than may wait.
    await waitFor(
      async () => {
        await touchAgents("slow");
        const metrics = await (await fetch(`http://${replica.opsAddress}/metrics`)).text();
        return /^nexus_registry_watchers_too_slow_total 1$/m.test(metrics);
      },
      { timeoutMs: 25_000, what: "the watcher to be too slow" },
    );
    let resumeToken = "";
    const end = watch.until((message) => {
      resumeToken = message.resumeToken;
      return false;
    });
    await expectError(end, "exhausted", "WATCHER_TOO_SLOW");
    const again = openWatch(user, { resumeToken });
    const missed = new Set<string>();
    await again.until(({ agents, reset }) => {
      expect(reset).toBe(false);
      for (const { agentId } of agents) missed.add(agentId);
      return missed.size === 600;
    });
    again.close();
  });

  it("shows services all namespaces, and others their own only", async () => {
    await clientsOf("north").registry.registerAgent(registration("one"));
    await clientsOf("south").registry.registerAgent(registration("one"));
    const all = openWatch(replica.service, { allNamespaces: true });
    const namespaces = (await all.until(({ snapshotComplete }) => snapshotComplete)).flatMap(
      ({ agents }) => agents.map(({ namespace }) => namespace),
    );
    expect(namespaces).toEqual(expect.arrayContaining(["north", "south"]));
    await connect(replica, "for-all");
    await all.until(({ agents }) => agents.some(({ agentId }) => agentId === "for-all"));
    all.close();

    const own = openWatch(clientsOf("north"));
    expect((await own.next()).agents.map(({ namespace }) => namespace)).toEqual(["north"]);
    own.close();
    const greedy = openWatch(clientsOf("north"), { allNamespaces: true });
    await expectError(greedy.next(), "forbidden", "SERVICE_ONLY");
  });

  it("ends with its token and needs the scope", async () => {
    const token = await bench.identity.token({ sub: "ada" });
    const stream = replica.user.registry.watchAgents({}, { token });
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    bench.identity.revoke(token);
    await expectError(iterator.next(), "unauthenticated", "TOKEN_REVOKED");
    const scoped = openWatch(replica.as({ sub: "ada", scopes: ["registry:agent:register"] }));
    await expectError(scoped.next(), "forbidden", "SCOPE_MISSING");
  });
});

/** Writes agents of about a kibibyte straight into the tables, as another replica would. */
async function insertAgents(namespace: string, count: number): Promise<void> {
  await pool.query(
    `INSERT INTO agents (namespace, agent_id, display_name, labels, region, slots, ttl_ms, content_hash, size_bytes,
       revision, registered_at, updated_at, expires_at)
     SELECT $1, 'agent-' || n, repeat('x', 1000), '{}', '', 1, 86400000, '', 2000, nextval('record_revisions'), now(),
       now(), now() + interval '1 day'
     FROM generate_series(1, $2::int) AS n`,
    [namespace, count],
  );
  await touchAgents(namespace);
  const watch = openWatch(clientsOf(namespace));
  let seen = 0;
  await watch.until(({ agents }) => {
    seen += agents.length;
    return seen >= count;
  });
  watch.close();
}

/** Adds a change of every agent of a namespace to the feed. */
async function touchAgents(namespace: string): Promise<void> {
  await withTransaction(pool, async (tx) => {
    const { rows } = await tx.query<{ agent_id: string }>(
      "SELECT agent_id FROM agents WHERE namespace = $1",
      [namespace],
    );
    const keys = rows.map(({ agent_id }) => ({ namespace, agentId: agent_id }));
    await appendChanges(tx, keys, "record");
  });
}
