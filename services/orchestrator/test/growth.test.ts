import { create, toJsonString } from "@bufbuild/protobuf";
import { JobState, PlanSchema, TaskState } from "@nexus/proto/orchestrator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, text, textOf } from "./_harness.ts";

/** Of the namespace, 20 and a quarter more. */
const LIMITS = { namespaceWaitingTasksMax: 20, waitingTasksMax: 1_000 };
const ROOM = 25;

const harness = new Harness();
/** Tasks of the next plan. */
let planned = 0;

beforeAll(async () => {
  await harness.open(LIMITS);
  harness.agent({
    agentId: "worker",
    capabilities: ["list", "work"],
    behaviour: (received, router) => {
      router.accept(received);
      router.complete(received, textOf(received.assignment.input) || "1", "application/json");
    },
  });
  harness.agent({
    agentId: "planner",
    capabilities: ["nexus.plan@1.0.0"],
    behaviour: (received, router) => {
      const tasks = Array.from({ length: planned }, (_, i) => ({
        key: `t${i}`,
        capability: "work",
      }));
      router.accept(received);
      const plan = toJsonString(PlanSchema, create(PlanSchema, { tasks }));
      router.complete(received, plan, "application/json");
    },
  });
});
afterAll(() => harness.close());

async function mapOver(elements: number): Promise<string> {
  const list = JSON.stringify(Array.from({ length: elements }, (_, i) => i));
  return harness.submit({
    tasks: [
      { key: "list", capability: "list", input: text(list) },
      {
        key: "each",
        capability: "work",
        map: { source: "list", itemName: "item" },
        dependencies: [{ taskKey: "list" }],
      },
    ],
  });
}

describe("what was let in grows into no more tasks than may wait", () => {
  it("a mapped task, which fails when its list finds no room", async () => {
    const fits = await mapOver(ROOM - 1);
    await harness.untilState(fits, JobState.COMPLETED);
    const jobId = await mapOver(ROOM + 1);
    const job = await harness.untilState(jobId, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "QUEUE_FULL", taskKey: "each" });
    expect(job.tasks).toMatchObject({ total: 2 });
    expect((await harness.tasksOf(jobId))["each"]?.state).toBe(TaskState.FAILED);
    // Nothing is left behind that would take room.
    await harness.untilState(await mapOver(ROOM - 1), JobState.COMPLETED);
  });

  it("a plan, which is rejected", async () => {
    planned = ROOM + 1;
    const refused = await harness.submit({ objective: "too much" });
    const job = await harness.untilState(refused, JobState.FAILED);
    expect(job.failure).toMatchObject({ reason: "PLAN_REJECTED" });
    expect(job.failure?.message).toContain("QUEUE_FULL");
    planned = ROOM;
    await harness.untilState(await harness.submit({ objective: "enough" }), JobState.COMPLETED);
  });
});
