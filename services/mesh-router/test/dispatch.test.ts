import { SessionState } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
});
afterAll(() => fixture.close());

describe("DispatchService.Dispatch", () => {
  it("sends the snapshot first, then changes", async () => {
    const before = await router.agent("snap-before", { slots: 7 });
    const orchestrator = await router.orchestrator();
    expect(orchestrator.routerId).toBe("router-a");
    const status = orchestrator.snapshot.find(({ session }) => session?.agentId === "snap-before");
    expect(status).toMatchObject({
      session: { namespace: "default", epoch: before.epoch },
      state: SessionState.CONNECTED,
      slots: 7,
    });
    const after = await router.agent("snap-after");
    await orchestrator.untilState("snap-after", after.epoch, SessionState.CONNECTED);
    after.send({ goodbye: { reason: "done" } });
    await orchestrator.untilState("snap-after", after.epoch, SessionState.CLOSED);
  });

  it("carries an assignment down, updates up and results down", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("worker");
    const session = { agentId: "worker", epoch: agent.epoch };
    orchestrator.assign(session, "task_1", 5n);
    const assignment = await waitFor(() => agent.assignments[0], { what: "the assignment" });
    expect(assignment).toMatchObject({ taskId: "task_1", fence: 5n, jobId: "job_1" });
    expect(new TextDecoder().decode(assignment.input?.data)).toBe("task_1");

    const output = { contentType: "text/plain", data: new TextEncoder().encode("out") };
    agent.send({
      taskUpdates: [
        { taskId: "task_1", fence: 5n, update: { case: "accepted", value: {} } },
        { taskId: "task_1", fence: 5n, update: { case: "completed", value: { output } } },
      ],
    });
    await waitFor(() => orchestrator.updates.length === 2, { what: "both updates" });
    expect(orchestrator.updates.map(({ update }) => update?.update.case)).toEqual([
      "accepted",
      "completed",
    ]);
    expect(orchestrator.updates[1]?.session).toMatchObject({
      agentId: "worker",
      epoch: agent.epoch,
    });

    const result = { taskId: "task_1", fence: 5n, outcome: 1 };
    orchestrator.send({
      updateResults: [{ session: { namespace: "default", ...session }, result }],
    });
    await waitFor(() => agent.results.length === 1, { what: "the result" });
    expect(agent.results[0]).toMatchObject({ taskId: "task_1", fence: 5n, outcome: 1 });
  });
});
