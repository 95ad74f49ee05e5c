/** When a service tells vault of its entries. */
import { createPool, type Pool } from "@nexus/postgres";
import { createRpcChannel, type RpcChannel } from "@nexus/rpc";
import { createTestDatabase, createTestIdentity, type TestDatabase } from "@nexus/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { insertDrafts } from "../src/draft-writer.ts";
import { type AuditLoop, keepServiceAudit, TELL_INTERVAL_MS } from "../src/service-audit.ts";
import { TestIntake } from "./_intake.ts";

const identity = createTestIdentity();
const { signal } = new AbortController();
const loops = new Map<string, AuditLoop>();
const asked: string[] = [];
const intake = new TestIntake();
const closing: (() => unknown)[] = [];
let database: TestDatabase;
let pool: Pool;
let channel: RpcChannel;

beforeAll(async () => {
  database = await createTestDatabase("registry");
  pool = createPool({ url: database.url, max: 4, applicationName: "test", schema: "registry" });
  const { address, close } = await intake.listen(identity);
  channel = createRpcChannel({ address });
  closing.push(() => channel.close(), close);
});

afterAll(async () => {
  for (const close of closing) await close();
  await pool.close();
  await database.close();
});

/** An auditor whose loops run when the test says so. */
function setUp() {
  return keepServiceAudit(
    {
      service: "registry",
      tokens: identity.tokens({ sub: "registry", kind: "service" }),
      server: { useAuditor: () => undefined },
      metrics: { counter: () => ({ inc: () => undefined }), gauge: () => undefined },
      channel: () => channel,
      defer: (_name, close) => closing.unshift(close),
      loop: (loop) => {
        loops.set(loop.name, loop);
        return {
          trigger: () => asked.push(`${loop.name} now`),
          soon: (withinMs) => asked.push(`${loop.name} within ${withinMs} ms`),
        };
      },
    },
    { pool, vaultAddress: "unused" },
  );
}

it("tells vault soon after an entry was stored, and at the next look what others left behind", async () => {
  setUp();
  const look = () => loops.get("audit-backlog")?.step(signal);
  await look();
  expect(asked).toEqual([]);
  await insertDrafts(pool, [Buffer.from("of a replica that died")]);
  await look();
  expect(asked.splice(0)).toEqual(["audit-courier now"]);
  await loops.get("audit-courier")?.step(signal);
  expect(intake.taken).toEqual(["of a replica that died"]);
  await look();
  expect(asked).toEqual([]);
});

it("says so for what a transaction stored, and for what the writer did", async () => {
  const auditor = setUp();
  const method = {
    input: { fields: [] },
    output: { fields: [] },
    parent: { typeName: "a.B" },
    name: "C",
  };
  const ctx = { principal: undefined, method, peer: "" };
  const call = { ctx, request: () => undefined, answer: () => undefined };
  const record = auditor.begin(call as never);
  record.stored();
  expect(asked.splice(0)).toEqual([`audit-courier within ${TELL_INTERVAL_MS} ms`]);
  await auditor.begin(call as never).allowed();
  expect(asked.splice(0)).toEqual([`audit-courier within ${TELL_INTERVAL_MS} ms`]);
});
