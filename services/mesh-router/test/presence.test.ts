import { AgentState, PresenceService, type ReportPresenceRequest } from "@nexus/proto/registry";
import { createRpcServer, type RpcServer } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { freePort, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture } from "./_router.ts";

/** A registry that only takes presence in. */
class PresenceSink {
  readonly requests: ReportPresenceRequest[] = [];
  failing = false;
  #server: RpcServer | undefined;

  async listen(fixture: MeshFixture, port: number): Promise<void> {
    this.#server = createRpcServer({
      service: "registry",
      host: "127.0.0.1",
      port,
      logger: createSilentLogger(),
      metrics: createMetrics("registry"),
      verifier: fixture.identity.verifier,
    }).add(PresenceService, {
      reportPresence: async (request) => {
        if (this.failing) {
          throw new NexusError({ kind: "internal", reason: "INTERNAL", message: "not now" });
        }
        this.requests.push(request);
        return { unknown: 0 };
      },
    });
    await this.#server.listen();
  }

  async close(): Promise<void> {
    await this.#server?.close(200);
  }

  reportsOf(agentId: string) {
    return this.requests
      .flatMap(({ presences }) => presences)
      .filter((presence) => presence.agentId === agentId);
  }

  async until(agentId: string, state: AgentState, epoch: bigint): Promise<void> {
    await waitFor(
      () => {
        const last = this.reportsOf(agentId).at(-1);
        return last?.state === state && last.epoch === epoch;
      },
      { what: `${agentId} to be ${AgentState[state]}` },
    );
  }
}

let fixture: MeshFixture;
let port: number;
const sink = new PresenceSink();

beforeAll(async () => {
  fixture = await MeshFixture.create();
  port = await freePort();
  await sink.listen(fixture, port);
});
afterAll(async () => {
  await fixture.close();
  await sink.close();
});

const start = (values: object = {}) =>
  fixture.start({ registryAddress: `127.0.0.1:${port}`, ...values });

describe("presence", () => {
  it("follows a session: ONLINE, BUSY, DRAINING, OFFLINE", async () => {
    const router = await start({ routerId: "presence" });
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("works", { slots: 1 });
    await sink.until("works", AgentState.ONLINE, agent.epoch);
    orchestrator.assign({ agentId: "works", epoch: agent.epoch }, "task_1", 1n);
    await sink.until("works", AgentState.BUSY, agent.epoch);
    expect(sink.reportsOf("works").at(-1)).toMatchObject({
      namespace: "default",
      slots: 1,
      busySlots: 1,
    });
    const update = { case: "failed" as const, value: { reason: "NOPE" } };
    agent.send({ taskUpdates: [{ taskId: "task_1", fence: 1n, update }] });
    await sink.until("works", AgentState.ONLINE, agent.epoch);
    agent.send({ credit: { slots: 0 } });
    await sink.until("works", AgentState.DRAINING, agent.epoch);
    agent.send({ goodbye: {} });
    await sink.until("works", AgentState.OFFLINE, agent.epoch);
    expect(sink.requests.every(({ routerId }) => routerId === "presence")).toBe(true);
    await router.stop();
  });

  it("counts a task as the slots that it takes", async () => {
    const router = await start();
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("wide", { slots: 4 });
    await sink.until("wide", AgentState.ONLINE, agent.epoch);
    const session = { namespace: "default", agentId: "wide", epoch: agent.epoch };
    const assignment = { taskId: "task_w", fence: 1n, jobId: "job_1", slotCost: 4 };
    orchestrator.send({ assignments: [{ session, assignment }] });
    await sink.until("wide", AgentState.BUSY, agent.epoch);
    expect(sink.reportsOf("wide").at(-1)).toMatchObject({ slots: 4, busySlots: 4 });
    await router.stop();
  });

  it("says LOST, and the new epoch, of an agent that was superseded", async () => {
    const router = await start();
    const first = await router.agent("twice");
    await sink.until("twice", AgentState.ONLINE, first.epoch);
    const second = await router.agent("twice");
    await sink.until("twice", AgentState.ONLINE, second.epoch);
    const states = sink.reportsOf("twice").map(({ epoch, state }) => [epoch, state]);
    expect(states).toContainEqual([first.epoch, AgentState.LOST]);
    await router.stop();
  });

  it("reports everything again from time to time, in batches", async () => {
    const router = await start({ presenceRefreshMs: 100 });
    await Promise.all(Array.from({ length: 30 }, (_, i) => router.agent(`many-${i}`)));
    await waitFor(() => sink.reportsOf("many-29").length >= 3, { what: "refreshes" });
    const largest = Math.max(...sink.requests.map(({ presences }) => presences.length));
    expect(largest).toBeGreaterThan(5);
    await router.stop();
  });

  it("survives a registry that fails, and tells it afterwards what it missed", async () => {
    const router = await start({ presenceRefreshMs: 200 });
    sink.failing = true;
    const agent = await router.agent("missed");
    agent.send({ goodbye: {} });
    expect(await agent.peer.untilEnded()).toBeUndefined();
    expect(sink.reportsOf("missed")).toEqual([]);
    sink.failing = false;
    await sink.until("missed", AgentState.OFFLINE, agent.epoch);
    await router.stop();
  });
});
