import { createPool, type Pool } from "@nexus/postgres";
import { createTestDatabase, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OpenRequest, SessionStore } from "../src/domain/ports.ts";
import { hashResumeToken } from "../src/domain/session/resume-token.ts";
import { type FakeRows, FakeSessionStore } from "../src/store/session-store.fake.ts";
import {
  type ClosableSessionStore,
  createSessionStore,
  distinctRounds,
} from "../src/store/session-store.ts";

type MakeStore = (routerId: string) => SessionStore;

let sequence = 0;
function request(agentId: string, more: Partial<OpenRequest> = {}): OpenRequest {
  sequence += 1;
  const sessionId = `ses_${agentId}_${sequence}`;
  return {
    namespace: "default",
    agentId,
    sessionId,
    resumeHash: hashResumeToken(sessionId),
    slots: 2,
    presentedHash: undefined,
    ...more,
  };
}

/** What every session store promises. */
function sessionStoreContract(name: string, makeStore: MakeStore): void {
  describe(`a session store (${name})`, () => {
    it("counts epochs of an agent up and says which live one ended", async () => {
      const store = makeStore("a");
      const first = await store.open(request("counts"));
      expect(first).toMatchObject({ resumed: false, supersededEpoch: undefined });
      const second = await store.open(request("counts"));
      expect(second.epoch).toBeGreaterThan(first.epoch);
      expect(second.supersededEpoch).toBe(first.epoch);
      const other = await store.open(request("counts", { namespace: "team-b" }));
      expect(other.supersededEpoch).toBeUndefined();
    });

    it("continues a session for the hash that it stored, and for no other", async () => {
      const store = makeStore("a");
      const first = request("resumes");
      const { epoch } = await store.open(first);
      const wrong = request("resumes", { presentedHash: hashResumeToken("wrong") });
      const good = request("resumes", { presentedHash: first.resumeHash });
      expect(await store.open(good)).toEqual({
        sessionId: first.sessionId,
        epoch,
        resumed: true,
        supersededEpoch: undefined,
      });
      const next = await store.open(wrong);
      expect(next).toMatchObject({ resumed: false, supersededEpoch: epoch });
      expect(next.epoch).toBeGreaterThan(epoch);
      expect(await store.open(good)).toMatchObject({ resumed: false, supersededEpoch: next.epoch });
    });

    it("does not continue a session that ended, and ends one once", async () => {
      const store = makeStore("a");
      const first = request("ends");
      await store.open(first);
      expect(await store.end(first.sessionId)).toBe(true);
      expect(await store.end(first.sessionId)).toBe(false);
      const late = request("ends", { presentedHash: first.resumeHash });
      expect(await store.open(late)).toMatchObject({ resumed: false, supersededEpoch: undefined });
    });

    it("lets another replica continue a session, which then is no longer the first one's to end", async () => {
      const [a, b] = [makeStore("a"), makeStore("b")];
      const first = request("moves");
      const { epoch } = await a.open(first);
      await a.settle([{ sessionId: first.sessionId, expiresInMs: 60_000 }]);
      const moved = await b.open(request("moves", { presentedHash: first.resumeHash }));
      expect(moved).toMatchObject({ epoch, resumed: true });
      await a.settle([{ sessionId: first.sessionId, expiresInMs: 0 }]);
      expect(await a.end(first.sessionId)).toBe(false);
      expect(await b.end(first.sessionId)).toBe(true);
    });

    it("does not continue a session whose time is over, unless its stream came back", async () => {
      const store = makeStore("a");
      const first = request("late");
      await store.open(first);
      await store.settle([{ sessionId: first.sessionId, expiresInMs: 0 }]);
      await store.settle([{ sessionId: first.sessionId, expiresInMs: undefined }]);
      const good = request("late", { presentedHash: first.resumeHash });
      expect((await store.open(good)).resumed).toBe(true);
      await store.settle([{ sessionId: first.sessionId, expiresInMs: 0 }]);
      expect((await store.open(good)).resumed).toBe(false);
    });

    it("hands a restarted replica its live sessions with at least the grace", async () => {
      const store = makeStore("restarts");
      const [kept, ended] = [request("kept", { slots: 7 }), request("ended")];
      const { epoch } = await store.open(kept);
      await store.open(ended);
      await store.end(ended.sessionId);
      await store.settle([{ sessionId: kept.sessionId, expiresInMs: 10 }]);
      const survivors = await makeStore("restarts").loadSurvivors(5_000);
      expect(survivors).toMatchObject([
        { namespace: "default", agentId: "kept", epoch, sessionId: kept.sessionId, slots: 7 },
      ]);
      expect(survivors[0]?.remainingMs).toBeGreaterThan(4_000);
      expect(Buffer.from(survivors[0]?.resumeHash ?? []).equals(Buffer.from(kept.resumeHash))).toBe(
        true,
      );
    });
  });
}

const rows: FakeRows = new Map();
sessionStoreContract("in memory", (routerId) => new FakeSessionStore(routerId, rows));

let database: TestDatabase;
let pool: Pool;
const stores: ClosableSessionStore[] = [];

beforeAll(async () => {
  database = await createTestDatabase("mesh-router");
  const { url, schema } = database;
  pool = createPool({ url, schema, max: 4, applicationName: "mesh-test" });
  const seed = createSessionStore({ pool, routerId: "a", routerGraceMs: 60_000 });
  await seed.renewRouter();
  await seed.close();
});
afterAll(async () => {
  for (const store of stores) await store.close();
  await pool.close();
  await database.close();
});

function postgresStore(routerId: string): ClosableSessionStore {
  const store = createSessionStore({ pool, routerId, routerGraceMs: 60_000 });
  stores.push(store);
  return store;
}
sessionStoreContract("Postgres", postgresStore);

describe("the Postgres session store", () => {
  it("opens a thousand sessions in a few statements", async () => {
    let statements = 0;
    const counting: Pool = {
      ...pool,
      query: (statement, values) => {
        statements += 1;
        return pool.query(statement, values);
      },
    };
    const store = createSessionStore({ pool: counting, routerId: "a", routerGraceMs: 60_000 });
    stores.push(store);
    const agents = Array.from({ length: 1_000 }, (_, i) => `mass-${i}`);
    const opened = await Promise.all(agents.map((agent) => store.open(request(agent))));
    expect(opened.every(({ resumed }) => !resumed)).toBe(true);
    expect(statements).toBeLessThan(10);
  });

  it("gives an agent that asks twice in one batch two epochs, in order", async () => {
    const store = postgresStore("a");
    const opened = await Promise.all([1, 2, 3].map(() => store.open(request("hasty"))));
    const epochs = opened.map(({ epoch }) => epoch);
    expect(epochs).toEqual([...new Set(epochs)].sort((a, b) => Number(a - b)));
    expect(opened.map(({ supersededEpoch }) => supersededEpoch)).toEqual([
      undefined,
      ...epochs.slice(0, 2),
    ]);
  });

  it("does not continue the session of a replica that was silent for the whole grace", async () => {
    const gone = postgresStore("gone");
    const first = request("left-behind");
    await gone.renewRouter();
    await gone.open(first);
    await pool.query(
      "UPDATE routers SET renewed_at = now() - interval '2 minutes' WHERE router_id = 'gone'",
    );
    const store = postgresStore("a");
    const good = request("left-behind", { presentedHash: first.resumeHash });
    expect(await store.open(good)).toMatchObject({ resumed: false });
  });

  it("ends what silent replicas left, keeps what has time left, and forgets the replicas later", async () => {
    const silent = postgresStore("silent");
    await silent.renewRouter();
    const [connected, waiting] = [request("was-connected"), request("still-waiting")];
    await silent.open(connected);
    await silent.open(waiting);
    await silent.settle([{ sessionId: waiting.sessionId, expiresInMs: 60_000 }]);
    await pool.query(
      "UPDATE routers SET renewed_at = now() - interval '2 days' WHERE router_id = 'silent'",
    );
    const store = postgresStore("a");
    expect(await store.endOrphans(30_000)).toMatchObject([{ agentId: "was-connected" }]);
    expect(await store.endOrphans(30_000)).toEqual([]);
    const known = "SELECT 1 FROM routers WHERE router_id = 'silent'";
    expect((await pool.query(known)).rowCount).toBe(1);
    await silent.end(waiting.sessionId);
    await store.endOrphans(30_000);
    expect((await pool.query(known)).rowCount).toBe(0);
  });

  it("keeps the order of one agent's requests when it splits a batch", () => {
    const requests = ["x", "y", "x", "x", "y"].map((agent) => request(agent));
    const rounds = distinctRounds(requests);
    expect(rounds.map((round) => round.map(({ agentId }) => agentId))).toEqual([
      ["x", "y"],
      ["x", "y"],
      ["x"],
    ]);
    expect(rounds[1]?.[0]).toBe(requests[2]);
  });
});
