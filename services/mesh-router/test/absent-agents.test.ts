import { randomUUID } from "node:crypto";
import { createPool, type Pool } from "@nexus/postgres";
import { DeliveryClass } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgetAbsentAgents } from "../src/store/absent-agents.ts";
import { outcomeName, type TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

const HOUR_MS = 3_600_000;
const MAIL = "mail m JOIN mailboxes USING (mailbox_id)";
const durable = { deliveryClass: DeliveryClass.DURABLE };

let fixture: MeshFixture;
let routers: RunningRouter[];
let pool: Pool;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  routers = [await fixture.start(), await fixture.start({ routerId: "router-b" })];
  const { url, schema } = fixture.database;
  pool = createPool({ url, schema, max: 2, applicationName: "mesh-test" });
});
afterAll(async () => {
  await pool.close();
  await fixture.close();
});

/** Connects at one of the routers. */
function connect(agentId: string, at = 0): Promise<TestAgent> {
  const router = routers[at];
  if (router === undefined) throw new Error("no router");
  return router.agent(agentId);
}

/** Says goodbye; its end lies as long back as is said, once it is stored. */
async function leave(agent: TestAgent, agentId: string, agoMs: number): Promise<void> {
  agent.send({ goodbye: {} });
  await agent.peer.untilEnded();
  const update = `UPDATE sessions SET left_at = now() - interval '${agoMs} milliseconds'
    WHERE agent_id = '${agentId}' AND NOT live RETURNING 1 AS one`;
  await waitFor(async () => (await fixture.sql(update)).length === 1, { what: "its end" });
}

const forget = (limit = 100) => forgetAbsentAgents(pool, { keptMs: HOUR_MS, limit });
const rowsOf = async (table: string, agentId: string) =>
  (await fixture.sql(`SELECT 1 AS one FROM ${table} WHERE agent_id = '${agentId}'`)).length;

/** How many receivers a durable message to a topic has. */
async function receivers(sender: TestAgent, toTopic: string): Promise<number> {
  const messageId = randomUUID();
  sender.post(messageId, "", { toTopic, ...durable });
  const found = await sender.outcomeOf(messageId);
  return outcomeName(found) === "QUEUED" ? found.receivers : 0;
}

describe("an agent that stays away", () => {
  it("is forgotten with its durable subscriptions, by all replicas, once its time is over", async () => {
    const [gone, recent] = [await connect("gone"), await connect("recent", 1)];
    await gone.subscribe("absence.*", { durable: true });
    await recent.subscribe("absence.*", { durable: true });
    await leave(gone, "gone", HOUR_MS + 1_000);
    await leave(recent, "recent", HOUR_MS - 600_000);
    const senders = [await connect("sender-a"), await connect("sender-b", 1)];
    await senders[0]?.subscribe("absence.of.none", { durable: true });
    for (const sender of senders) {
      await waitFor(async () => (await receivers(sender, "absence.x")) === 2, { what: "both" });
    }
    const waiting = await rowsOf(MAIL, "gone");
    expect(await forget()).toBe(1);
    for (const sender of senders) {
      await waitFor(async () => (await receivers(sender, "absence.x")) === 1, { what: "one" });
    }
    expect(await rowsOf("sessions", "gone")).toBe(0);
    expect(await rowsOf("subscriptions", "gone")).toBe(0);
    expect(await rowsOf("subscriptions", "recent")).toBe(1);
    expect(await rowsOf("subscriptions", "sender-a")).toBe(1);
    // A replica that had not heard yet may have stored some more.
    const kept = await rowsOf(MAIL, "gone");
    expect(kept).toBeGreaterThanOrEqual(waiting);
    for (const sender of senders) expect(await receivers(sender, "absence.x")).toBe(1);
    expect(await rowsOf(MAIL, "gone")).toBe(kept);
  });

  it("gets an epoch above all that it had when it comes back, and the mail that still waits", async () => {
    const sender = await connect("writer");
    for (let i = 0; i < 3; i += 1) await connect("returns");
    const before = await connect("returns");
    await before.subscribe("returns", { durable: true });
    await leave(before, "returns", 2 * HOUR_MS);
    sender.post("kept", "", { toTopic: "returns", ...durable });
    expect(outcomeName(await sender.outcomeOf("kept"))).toBe("QUEUED");
    expect(await forget()).toBe(1);
    const again = await connect("returns", 1);
    expect(again.epoch).toBeGreaterThan(before.epoch);
    await waitFor(() => again.deliveries[0], { what: "what waited" });
    expect(again.deliveries[0]).toMatchObject({ messageId: "kept" });
  });

  it("is not one that has a session, or is on its way back to one", async () => {
    const [here, away] = [await connect("here"), await connect("away")];
    await here.subscribe("presence", { durable: true });
    away.peer.break();
    await fixture.sql("UPDATE sessions SET left_at = now() - interval '1 year'");
    await forget();
    expect(await rowsOf("sessions", "here")).toBe(1);
    expect(await rowsOf("sessions", "away")).toBe(1);
    expect(await rowsOf("subscriptions", "here")).toBe(1);
  });

  it("is forgotten a bounded number at a time, whose epoch the sequence has come to", async () => {
    await fixture.sql("DELETE FROM sessions WHERE NOT live");
    const [{ last } = { last: "0" }] = await fixture.sql<{ last: string }>(
      "SELECT last_value AS last FROM session_epochs",
    );
    await fixture.sql(
      `INSERT INTO sessions (namespace, agent_id, epoch, session_id, router_id, resume_hash, slots, live, opened_at, left_at)
       SELECT 'default', 'old-' || i, ${last} + i - 5, 'ses_old_' || i, 'dead', '\\x00', 1, false, now(), now() - interval '1 day'
       FROM generate_series(1, 6) i`,
    );
    expect(await forget(3)).toBe(3);
    expect(await forget(3)).toBe(2);
    await connect("next");
    expect(await forget(3)).toBe(1);
  });
});
