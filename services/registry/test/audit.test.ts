/** Entries of the audit log, committed with what they are about. */
import { fromBinary } from "@bufbuild/protobuf";
import { BACKLOG_MAX } from "@nexus/audit";
import { createPool, type Pool } from "@nexus/postgres";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Bench,
  createBench,
  expectError,
  type Replica,
  registration,
  requestId,
} from "./_helpers.ts";

/** An entry has 2 s. Far below the 30 s that a call has without a deadline. */
const ANSWER_MAX_MS = 15_000;

let bench: Bench;
let replica: Replica;
let pool: Pool;

/** Nobody takes the entries, so they stay to be looked at. */
beforeAll(async () => {
  bench = await createBench();
  replica = await bench.start();
  const { url } = bench.database;
  pool = createPool({ url, max: 3, applicationName: "test", schema: "registry" });
});

afterAll(async () => {
  await pool.close();
  await bench.close();
});

beforeEach(() => pool.query("DELETE FROM audit_outbox"));

/** Of everybody who is known: a client of another test may still look for a server at an address that is ours now, and is entered
 * as nobody. */
async function entries() {
  const { rows } = await pool.query<{ draft: Buffer }>(
    "SELECT draft FROM audit_outbox ORDER BY entry_no",
  );
  const all = rows.map(({ draft }) => fromBinary(AuditEntrySchema, draft));
  return all.filter(({ actor }) => actor !== "");
}

const RESOURCE = (agentId: string) => ({
  service: "registry",
  resource: agentId,
  namespace: "default",
});

describe("changes of records", () => {
  it("leave one entry each, with who made them", async () => {
    const { registry } = replica.user;
    const came = { ...registration("kept"), region: "north" };
    const changed = requestId();
    const gone = requestId();
    await registry.registerAgent(came);
    await registry.updateAgent({ requestId: changed, agentId: "kept", slots: 3 });
    await registry.deregisterAgent({ requestId: gone, agentId: "kept" });
    const found = await entries();
    const { ALLOWED } = AuditResult;
    expect(found.map(({ action, requestId, result }) => [action, requestId, result])).toEqual([
      ["nexus.registry.v1.RegistryService/RegisterAgent", came.requestId, ALLOWED],
      ["nexus.registry.v1.RegistryService/UpdateAgent", changed, ALLOWED],
      ["nexus.registry.v1.RegistryService/DeregisterAgent", gone, ALLOWED],
    ]);
    for (const entry of found) {
      expect(entry).toMatchObject({ ...RESOURCE("kept"), actor: "ada", actorKind: "user" });
    }
    const [registered] = found;
    expect(registered?.fields).toContainEqual(
      expect.objectContaining({ name: "region", value: "north" }),
    );
    expect(registered?.fields).toContainEqual(
      expect.objectContaining({ name: "capabilities", value: "[1]" }),
    );
  });

  it("leave an entry of a repetition as well", async () => {
    const request = registration("twice");
    await replica.user.registry.registerAgent(request);
    await replica.user.registry.registerAgent(request);
    const found = await entries();
    expect(found.map(({ requestId }) => requestId)).toEqual([request.requestId, request.requestId]);
    expect(found[0]?.entryId).not.toBe(found[1]?.entryId);
  });

  it("that are refused leave an entry that says so, and nothing else", async () => {
    const other = replica.as({ sub: "attacker", kind: "agent" });
    await expectError(
      other.registry.registerAgent(registration("victim")),
      "forbidden",
      "AGENT_ID_MISMATCH",
    );
    const reader = replica.as({ sub: "reader", scopes: ["registry:agent:read"] });
    await expectError(
      reader.registry.deregisterAgent({ requestId: requestId(), agentId: "victim" }),
      "forbidden",
      "SCOPE_MISSING",
    );
    expect(await entries()).toMatchObject([
      { actor: "attacker", result: AuditResult.DENIED, reason: "AGENT_ID_MISMATCH" },
      { actor: "reader", result: AuditResult.DENIED, reason: "SCOPE_MISSING" },
    ]);
  });

  it("are refused in time while no entry can be written, and nothing is changed", async () => {
    await pool.query("ALTER TABLE audit_outbox RENAME TO hidden");
    const startedAtMs = performance.now();
    await expectError(
      replica.user.registry.registerAgent(registration("unseen")),
      "unavailable",
      "AUDIT_UNAVAILABLE",
    );
    expect(performance.now() - startedAtMs).toBeLessThan(ANSWER_MAX_MS);
    await pool.query("ALTER TABLE hidden RENAME TO audit_outbox");
    await expectError(
      replica.user.registry.getAgent({ agentId: "unseen" }),
      "not_found",
      "AGENT_NOT_FOUND",
    );
    await replica.user.registry.registerAgent(registration("unseen"));
  });

  it("are refused while too many entries wait for vault, reading is not", async () => {
    await replica.user.registry.registerAgent(registration("full"));
    const { rows } = await pool.query<{ last: string }>(
      "SELECT max(entry_no) AS last FROM audit_outbox",
    );
    const next = Number(rows[0]?.last) + BACKLOG_MAX;
    await pool.query(`ALTER TABLE audit_outbox ALTER COLUMN entry_no RESTART WITH ${next}`);
    await pool.query("INSERT INTO audit_outbox (draft) VALUES ('')");
    // A change that leaves the agent there, whenever the outbox is seen to be full.
    const refused = () =>
      replica.user.registry.updateAgent({ requestId: requestId(), agentId: "full", slots: 3 }).then(
        () => false,
        (error: unknown) => (error as { reason?: string }).reason === "AUDIT_UNAVAILABLE",
      );
    await replica.user.registry.getAgent({ agentId: "full" });
    await waitFor(refused, { what: "the outbox to be seen to be full" });
    await replica.user.registry.getAgent({ agentId: "full" });
    await pool.query("DELETE FROM audit_outbox");
    await waitFor(async () => !(await refused()), { what: "the outbox to be seen to have room" });
  });
});
