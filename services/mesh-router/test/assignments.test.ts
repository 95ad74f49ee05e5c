import { SessionState } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestOrchestrator } from "./_orchestrator.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
});
afterAll(() => fixture.close());

describe("an assignment", () => {
  it("is refused with NO_SESSION for an agent that is not there", async () => {
    const orchestrator = await router.orchestrator();
    orchestrator.assign({ agentId: "nobody", epoch: 1n }, "task_1", 3n);
    await waitFor(() => orchestrator.refusals.length === 1, { what: "the refusal" });
    expect(orchestrator.refusals[0]).toMatchObject({
      taskId: "task_1",
      fence: 3n,
      reason: "NO_SESSION",
      session: { agentId: "nobody", epoch: 1n },
    });
  });

  it("is refused with EPOCH_MISMATCH for another epoch, and nothing reaches the agent", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("epochs");
    orchestrator.assign({ agentId: "epochs", epoch: agent.epoch + 1n }, "task_1");
    await waitFor(() => orchestrator.refusals.length === 1, { what: "the refusal" });
    expect(orchestrator.refusals[0]?.reason).toBe("EPOCH_MISMATCH");
    orchestrator.assign({ agentId: "epochs", epoch: agent.epoch }, "task_2");
    await waitFor(() => agent.assignments.length === 1, { what: "the right assignment" });
    expect(agent.assignments[0]?.taskId).toBe("task_2");
  });

  it("is refused with DRAINING for a paused agent and DETACHED for one without a stream", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("pauses");
    const session = { agentId: "pauses", epoch: agent.epoch };
    agent.send({ credit: { slots: 0 } });
    await orchestrator.untilState("pauses", agent.epoch, SessionState.DRAINING);
    orchestrator.assign(session, "task_1");
    await waitFor(() => orchestrator.refusals[0]?.reason === "DRAINING", { what: "DRAINING" });
    agent.peer.break();
    await orchestrator.untilState("pauses", agent.epoch, SessionState.DETACHED);
    orchestrator.assign(session, "task_2");
    await waitFor(() => orchestrator.refusals[1]?.reason === "DETACHED", { what: "DETACHED" });
  });

  it("comes back when the stream breaks before the agent said a word about it", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("breaks");
    const session = { agentId: "breaks", epoch: agent.epoch };
    orchestrator.assign(session, "task_heard", 1n);
    orchestrator.assign(session, "task_unheard", 2n);
    await waitFor(() => agent.assignments.length === 2, { what: "both assignments" });
    agent.send({
      taskUpdates: [{ taskId: "task_heard", fence: 1n, update: { case: "accepted", value: {} } }],
    });
    await waitFor(() => orchestrator.updates.length === 1, { what: "the update" });
    agent.peer.break();
    await waitFor(() => orchestrator.refusals.length > 0, { what: "the refusal" });
    expect(orchestrator.refusals).toMatchObject([{ taskId: "task_unheard", reason: "DETACHED" }]);
  });

  it("never follows its own cancel", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("cancels");
    const session = { namespace: "default", agentId: "cancels", epoch: agent.epoch };
    const cancel = { taskId: "task_1", fence: 1n, reason: "JOB_CANCELLED" };
    orchestrator.send({
      assignments: [
        { session, assignment: { taskId: "task_1", fence: 1n } },
        { session, assignment: { taskId: "task_2", fence: 2n } },
      ],
      cancels: [{ session, cancel }],
    });
    await waitFor(() => agent.assignments.length === 1, { what: "the other assignment" });
    expect(agent.assignments[0]?.taskId).toBe("task_2");
    orchestrator.send({
      cancels: [{ session, cancel: { ...cancel, taskId: "task_2", fence: 2n } }],
    });
    await waitFor(() => agent.cancels.length === 1, { what: "the cancel" });
    expect(agent.cancels[0]).toMatchObject({ taskId: "task_2", reason: "JOB_CANCELLED" });
  });
});

describe("task updates", () => {
  it("of unknown tasks reach every orchestrator, in order, and results of a wrong epoch nobody", async () => {
    const one = await router.orchestrator("orchestrator-1");
    const two = await router.orchestrator("orchestrator-2");
    const agent = await router.agent("reports");
    const updates = Array.from({ length: 1_200 }, (_, i) => ({
      taskId: `task_${i}`,
      fence: 1n,
      update: { case: "failed" as const, value: { reason: "NOPE" } },
    }));
    for (let i = 0; i < updates.length; i += 400) {
      agent.send({ taskUpdates: updates.slice(i, i + 400) });
    }
    for (const orchestrator of [one, two]) {
      await waitFor(() => orchestrator.updates.length === 1_200, { what: "all updates" });
      const order = orchestrator.updates.map(({ update }) => update?.taskId);
      expect(order).toEqual(updates.map(({ taskId }) => taskId));
    }
    const ref = { namespace: "default", agentId: "reports" };
    const result = (taskId: string, epoch: bigint) => ({
      session: { ...ref, epoch },
      result: { taskId, fence: 1n, outcome: 1 },
    });
    one.send({ updateResults: [result("stale", agent.epoch + 1n), result("task_0", agent.epoch)] });
    await waitFor(() => agent.results.length === 1, { what: "the result" });
    expect(agent.results[0]?.taskId).toBe("task_0");
  });

  it("arrive before the end of the session that sent them", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("last-words");
    let updatesAtEnd = -1;
    const seen = waitFor(
      () => {
        if (orchestrator.stateOf("last-words", agent.epoch) !== SessionState.CLOSED) return false;
        updatesAtEnd = updatesAtEnd < 0 ? orchestrator.updates.length : updatesAtEnd;
        return true;
      },
      { what: "the end" },
    );
    const update = { case: "released" as const, value: { message: "draining" } };
    agent.send({
      taskUpdates: Array.from({ length: 512 }, (_, i) => ({ taskId: `t${i}`, fence: 1n, update })),
      goodbye: { reason: "drained" },
    });
    await seen;
    expect(updatesAtEnd).toBe(512);
  });
});

describe("DispatchService.Dispatch", () => {
  it("refuses agents, users and forged tokens", async () => {
    const open = async (token: string) => {
      const orchestrator = new TestOrchestrator(router.channel, token);
      orchestrator.send({ orchestratorId: "x" });
      return orchestrator.peer.untilEnded();
    };
    const scopes = ["mesh:session:connect", "mesh:message:send"];
    const agent = await fixture.identity.token({ sub: "a", kind: "agent", scopes });
    expect(await open(agent)).toMatchObject({ kind: "forbidden", reason: "SCOPE_MISSING" });
    const tenant = await fixture.identity.token({ sub: "root", ns: "team-b", scopes: ["*"] });
    expect(await open(tenant)).toMatchObject({ kind: "forbidden", reason: "SERVICE_ONLY" });
    expect(await open("forged")).toMatchObject({ kind: "unauthenticated" });
  });

  it("refuses a first frame without a name, and a malformed one, as FRAME_INVALID", async () => {
    const nameless = await router.openOrchestrator();
    nameless.send({ cancels: [] });
    expect((await nameless.peer.untilEnded())?.reason).toBe("FRAME_INVALID");
    const orchestrator = await router.orchestrator();
    orchestrator.send({ cancels: Array.from({ length: 513 }, () => ({})) });
    expect((await orchestrator.peer.untilEnded())?.reason).toBe("FRAME_INVALID");
  });
});
