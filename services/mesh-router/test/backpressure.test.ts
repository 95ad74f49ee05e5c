import { SessionState } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName } from "./_agent.ts";
import { MeshFixture } from "./_router.ts";

let fixture: MeshFixture;

beforeAll(async () => {
  fixture = await MeshFixture.create();
});
afterAll(() => fixture.close());

const LARGE = { contentType: "application/octet-stream", data: new Uint8Array(200 * 1024) };

const ASSIGNED = 220;
/** Tens of megabytes go through one test process here. */
const PATIENCE_MS = 25_000;

describe("an agent that does not read", () => {
  it("slows nobody else and its queue says OVERLOADED", async () => {
    const router = await fixture.start();
    const sender = await router.agent("sender");
    const stuck = await router.agent("stuck", { messageCredit: 10_000 });
    const quick = await router.agent("quick", { messageCredit: 10_000 });
    quick.autoAck = true;
    stuck.peer.paused = true;
    // Far more than transport and router hold for one reader, within what the router holds in all.
    for (let i = 0; i < 60; i += 1) sender.post(`big-${i}`, "stuck", { payload: LARGE });
    for (let i = 0; i < 500; i += 1) sender.post(`small-${i}`, "quick");
    await waitFor(
      () => sender.outcomes.filter(({ messageId }) => messageId.startsWith("small")).length === 500,
      { what: "the quick agent's messages", timeoutMs: PATIENCE_MS },
    );
    const small = sender.outcomes.filter(({ messageId }) => messageId.startsWith("small"));
    expect(new Set(small.map(outcomeName))).toEqual(new Set(["DELIVERED"]));
    for (let i = 0; i < 1_500; i += 1) sender.post(`more-${i}`, "stuck");
    await waitFor(() => sender.outcomes.some((o) => outcomeName(o) === "OVERLOADED"), {
      what: "OVERLOADED",
      timeoutMs: PATIENCE_MS,
    });
    stuck.peer.paused = false;
    await router.stop();
  });

  it("loses its stream as SESSION_TOO_SLOW, keeps its session, and unread work comes back", async () => {
    const router = await fixture.start({ heartbeatIntervalMs: 200, lostAfterMs: 1_000 });
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("stalls", { slots: 1_000 });
    const beat = setInterval(() => agent.send({ heartbeat: { busySlots: 0 } }), 100);
    fixture.onClose(() => clearInterval(beat));
    agent.peer.paused = true;
    const session = { namespace: "default", agentId: "stalls", epoch: agent.epoch };
    // Sixteen frames fit into a client's own buffer, and sixteen MiB into the router's.
    for (let i = 0; i < ASSIGNED; i += 1) {
      const assignment = { taskId: `task_${i}`, fence: 1n, input: LARGE };
      orchestrator.send({ assignments: [{ session, assignment }] });
    }
    await waitFor(() => orchestrator.refusals.length === ASSIGNED, {
      what: "the refusals",
      timeoutMs: PATIENCE_MS,
    });
    expect(new Set(orchestrator.refusals.map(({ reason }) => reason))).toContain(
      "SESSION_TOO_SLOW",
    );
    agent.peer.paused = false;
    expect(await agent.peer.untilEnded()).toMatchObject({
      kind: "exhausted",
      reason: "SESSION_TOO_SLOW",
    });
    const states = orchestrator.changes
      .filter((change) => change.session?.agentId === "stalls")
      .map(({ state }) => state);
    expect(states).toContain(SessionState.DETACHED);
    await router.stop();
  });
});

describe("an orchestrator that does not read", () => {
  it("is ended as DISPATCH_TOO_SLOW and begins again with a snapshot", async () => {
    const router = await fixture.start();
    const slow = await router.orchestrator("slow");
    const quick = await router.orchestrator("quick");
    const agent = await router.agent("talks");
    slow.peer.paused = true;
    const update = { case: "completed" as const, value: { output: LARGE } };
    // More than the transport, the queue and the frame in flight hold together, at the quick one's pace.
    for (let i = 0; i < 200; i += 1) {
      agent.send({ taskUpdates: [{ taskId: `task_${i}`, fence: 1n, update }] });
      await waitFor(() => quick.updates.length === i + 1, { what: "the quick one's update" });
    }
    slow.peer.paused = false;
    expect(await slow.peer.untilEnded()).toMatchObject({
      kind: "exhausted",
      reason: "DISPATCH_TOO_SLOW",
    });
    const again = await router.orchestrator("slow");
    expect(again.snapshot.map(({ session }) => session?.agentId)).toContain("talks");
    await router.stop();
  });
});
