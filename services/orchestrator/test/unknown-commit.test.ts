/** The connection to the database breaks while a COMMIT is under way there: the call looks again, and is entered into the audit log once. */
import { fromBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema } from "@nexus/proto/common";
import { JobState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { createTestDatabase, TcpProxy, waitFor } from "@nexus/testkit";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";

const ids = createIds();
const harness = new Harness();
/** Held by a test, it holds up every COMMIT of a mutation. */
const GATE = 7_401;
let proxy: TcpProxy;
let gate: Client;

beforeAll(async () => {
  proxy = await TcpProxy.listen();
  const database = await createTestDatabase("orchestrator");
  const url = new URL(database.url);
  proxy.aim(Number(url.port));
  url.port = String(proxy.port);
  const { adminUrl } = database;
  // The audit of what waits, each 120 steps of the reaper, must not be what finds a task.
  const values = { reapIntervalMs: 1_000 };
  await harness.open(values, { url: url.href, adminUrl, close: () => database.close() });
  await harness.db.query(`
    CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_xact_lock_shared(${GATE}); RETURN NULL; END $$`);
  await harness.db.query(`
    CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON requests DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION wait_at_gate()`);
  gate = new Client({ connectionString: adminUrl });
  await gate.connect();
});

afterAll(async () => {
  await gate.end();
  await harness.close();
  await proxy.close();
});

beforeEach(() => harness.db.query("DELETE FROM audit_outbox"));

/** Makes a call whose COMMIT the server is at when the connection breaks, and which it makes nevertheless. */
async function withUnknownCommit<T>(
  call: () => Promise<T>,
  cut = async () => proxy.replace(),
): Promise<T> {
  await gate.query("SELECT pg_advisory_lock($1)", [GATE]);
  const answer = call();
  answer.catch(() => undefined);
  await waitFor(async () => (await harness.count(`pg_locks WHERE objid = ${GATE}`)) === 2, {
    what: "the COMMIT to wait at the gate",
  });
  await cut();
  await gate.query("SELECT pg_advisory_unlock($1)", [GATE]);
  return answer;
}

/** Cuts only the connection that waits at the gate. */
async function cutCommitting(): Promise<void> {
  const { rows } = await harness.db.query<{ client_port: number }>(
    `SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.objid = ${GATE} AND NOT l.granted`,
  );
  proxy.cutFrom(rows[0]?.client_port ?? 0);
}

async function entered(): Promise<{ action: string; requestId: string; entryId: string }[]> {
  const { rows } = await harness.db.query<{ draft: Buffer }>("SELECT draft FROM audit_outbox");
  return rows.map(({ draft }) => fromBinary(AuditEntrySchema, draft));
}

const tasks = [{ key: "only", capability: "never-there" }];

describe("a call that does not learn whether its COMMIT was made", () => {
  it("has its job done, though all other connections stand", async () => {
    // First of all: a loss of the others, in tests that break them, would have everything read anew.
    const request = { requestId: ids.next(), tasks: [{ key: "only", capability: "comes" }] };
    const submit = () => harness.client.submitJob(request);
    const { job } = await withUnknownCommit(submit, cutCommitting);
    harness.agent({ agentId: "comes", capabilities: ["comes"] });
    await harness.untilState(job?.jobId ?? "", JobState.COMPLETED);
  });

  it("submits one job, and leaves one entry", async () => {
    const requestId = ids.next();
    const { job } = await withUnknownCommit(() => harness.client.submitJob({ requestId, tasks }));
    expect(await harness.count("jobs WHERE ended_at IS NULL")).toBe(1);
    expect(await entered()).toMatchObject([{ requestId, resource: job?.jobId }]);
  });

  it("pauses its job, and leaves one entry", async () => {
    const { job } = await harness.client.submitJob({ requestId: ids.next(), tasks });
    const jobId = job?.jobId ?? "";
    const order = { requestId: ids.next(), jobId };
    await withUnknownCommit(() => harness.client.pauseJob(order));
    const found = (await entered()).filter(({ requestId }) => requestId === order.requestId);
    expect(found).toMatchObject([{ action: "nexus.orchestrator.v1.JobService/PauseJob" }]);
  });

  it("leaves an entry of its own when another call has made the change", async () => {
    const requestId = ids.next();
    await withUnknownCommit(() => harness.client.submitJob({ requestId, tasks }));
    await harness.client.submitJob({ requestId, tasks });
    const found = await entered();
    expect(found.map((entry) => entry.requestId)).toEqual([requestId, requestId]);
    expect(new Set(found.map(({ entryId }) => entryId)).size).toBe(2);
  });
});
