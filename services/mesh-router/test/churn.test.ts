/** A thousand sessions that come and go leave nothing behind. */
import { getActiveResourcesInfo } from "node:process";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestAgent } from "./_agent.ts";
import { metric, ReplicaFixture, untilMetric } from "./_replicas.ts";
import type { RunningRouter } from "./_router.ts";

const WAVES = 10;
const WAVE = 100;
/** What belongs to sessions, streams and messages; zero without any. */
const LEVELS = [
  "sessions",
  "messages_pending",
  "messages_pending_bytes",
  "inbox_longest_messages",
  "mail_uncommitted_messages",
  "mail_unacknowledged_messages",
  "mail_memory_bytes",
  "routes_sought",
  "postgres_waiting_callers",
] as const;

let fixture: ReplicaFixture;
let first: RunningRouter;
let second: RunningRouter;

beforeAll(async () => {
  fixture = await ReplicaFixture.create(2, {});
  [first, second] = fixture.routers as [RunningRouter, RunningRouter];
});
afterAll(() => fixture.close());

function countTimers(): number {
  return getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
}

/** Connects, subscribes, sends a message of each class to a neighbour, and leaves: with a goodbye, or without one. */
async function live(router: RunningRouter, wave: number, index: number): Promise<TestAgent> {
  const agent = await router.agent(`churn-${wave}-${index}`);
  agent.autoAck = true;
  await agent.subscribe(`churn.${index}.>`);
  return agent;
}

async function playWave(wave: number): Promise<void> {
  const agents = await Promise.all(
    Array.from({ length: WAVE }, (_, index) => live(index % 2 === 0 ? first : second, wave, index)),
  );
  for (const [index, agent] of agents.entries()) {
    const neighbour = `churn-${wave}-${(index + 1) % WAVE}`;
    agent.post("m", neighbour);
    agent.mail("d", neighbour);
  }
  const isServed = ({ outcomes, mailIds }: TestAgent) =>
    outcomes.length === 2 && mailIds.length === 1;
  await waitFor(() => agents.every(isServed), { what: "every message", timeoutMs: 30_000 });
  // A replaced session is over as well as one that said goodbye.
  const goes = async (agent: TestAgent, index: number) =>
    leave(index % 10 === 0 ? await first.agent(agent.agentId) : agent);
  await Promise.all(agents.map(goes));
  await Promise.all(agents.map(({ peer }) => peer.untilEnded()));
}

async function leave(agent: TestAgent): Promise<void> {
  agent.send({ goodbye: {} });
  agent.peer.endSending();
  await agent.peer.untilEnded();
}

describe("a thousand sessions that connect and leave", () => {
  it("leave no session, subscription, route, message, timer, connection or channel behind", async () => {
    await playWave(0);
    for (const router of [first, second]) {
      for (const level of LEVELS) await untilMetric(router, level, 0);
    }
    const channels = await metric(first, "channels");
    const timers = countTimers();
    for (let wave = 1; wave <= WAVES; wave += 1) await playWave(wave);
    await fixture.mesh.untilMail(0);
    for (const router of [first, second]) {
      for (const level of LEVELS) await untilMetric(router, level, 0);
      await untilMetric(router, "routes_elsewhere", 0);
      expect(await metric(router, "postgres_connections")).toBeLessThanOrEqual(4);
    }
    const [live] = await fixture.mesh.sql<{ count: number }>(
      "SELECT count(*)::int AS count FROM sessions WHERE live",
    );
    expect(live?.count).toBe(0);
    expect(await metric(first, "channels")).toBe(channels);
    // Timers of the process come and go; what sessions left would be hundreds.
    await waitFor(() => countTimers() <= timers + 5, { what: "timers to end" });
    const alice = await first.agent("alice");
    alice.post("m", "", { toTopic: "churn.1.x" });
    expect((await alice.outcomeOf("m")).receivers).toBe(0);
  }, 120_000);
});
