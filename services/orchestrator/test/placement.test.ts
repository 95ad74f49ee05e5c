import { JobState, LabelComparator, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectError } from "./_expect.ts";
import { Harness } from "./_harness.ts";
import { begin, silent } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

/** Waits until these agents are connected, by asking how the choice for a task that is too costly for all would stand. */
async function untilKnown(capability: string, count: number): Promise<void> {
  const jobId = await harness.submit({
    tasks: [{ key: "p", capability, slotCost: 1_000 }],
  });
  const { p } = await harness.tasksOf(jobId);
  await waitFor(
    async () => {
      const { now } = await harness.client.explainTask({ taskId: p?.taskId ?? "" });
      const free = now?.rejections.filter(({ reason }) => reason === "TOO_FEW_SLOTS") ?? [];
      return free.length >= count;
    },
    { what: `${count} agents to be known` },
  );
  await harness.client.cancelJob({ requestId: jobId, jobId });
}

async function untilLeased(jobId: string, key = "a") {
  return waitFor(
    async () => {
      const task = (await harness.tasksOf(jobId))[key];
      return task?.agentId === "" ? undefined : task;
    },
    { what: `${key} to be leased` },
  );
}

function assignmentOf(taskId: string) {
  return waitFor(
    () => harness.router.assignments.find((item) => item.assignment.taskId === taskId),
    { what: `${taskId} to be assigned` },
  );
}

describe("a preferred region", () => {
  it("gets its agent, is explained, and comes back with the spec", async () => {
    const capability = "regional";
    for (const region of ["us", "eu", ""]) {
      const agentId = `in-${region || "nowhere"}`;
      harness.agent({ agentId, capabilities: [capability], region, slots: 4, behaviour: silent });
    }
    await untilKnown(capability, 3);
    const retry = { jitter: 0.5 };
    const jobId = await harness.submit({
      tasks: [{ key: "a", capability, preferredRegion: "eu", retry }],
    });
    const task = await untilLeased(jobId);
    expect(task).toMatchObject({ agentId: "in-eu", spec: { preferredRegion: "eu", retry } });
    const { attempts } = await harness.client.explainTask({ taskId: task.taskId });
    expect(attempts[0]?.decision?.factors["region"]).toBe(1);
  });
});

describe("label constraints", () => {
  it("demand, and wish by weight; who was refused for which is explained", async () => {
    const capability = "render";
    const labels = (vram: string, zone: string) => ({ vram, zone });
    const fleet = {
      small: labels("16", "eu"),
      big: labels("80", "us"),
      bigger: labels("96", "eu"),
    };
    for (const [agentId, carried] of Object.entries(fleet)) {
      harness.agent({ agentId, capabilities: [capability], labels: carried, behaviour: silent });
    }
    await untilKnown(capability, 3);
    const constraint = (
      key: string,
      comparator: LabelComparator,
      values: string[],
      weight = 0,
    ) => ({
      key,
      comparator,
      values,
      weight,
    });
    const constraints = [
      constraint("vram", LabelComparator.GREATER_THAN, ["40"]),
      constraint("zone", LabelComparator.IN, ["eu", "ap"], 10),
    ];
    const jobId = await harness.submit({
      tasks: [
        {
          key: "a",
          capability,
          preferredLabels: { zone: "us" },
          labelConstraints: constraints,
        },
      ],
    });
    const task = await untilLeased(jobId);
    expect(task).toMatchObject({ agentId: "bigger", spec: { labelConstraints: constraints } });
    const { attempts } = await harness.client.explainTask({ taskId: task.taskId });
    const decision = attempts[0]?.decision;
    expect(decision).toMatchObject({ eligible: 2, fallbackAgentId: "big" });
    expect(decision?.factors["preferred"]).toBe(0.9091);
    expect(decision?.rejections).toMatchObject([{ agentId: "small", reason: "LABEL_CONSTRAINT" }]);
  });

  it("are refused when they make no sense, each with its field", async () => {
    const call = harness.client.submitJob({
      requestId: "nonsense",
      tasks: [
        {
          key: "a",
          capability: "x",
          labelConstraints: [
            { key: "k", comparator: LabelComparator.EXISTS, values: ["v"] },
            { key: "k", comparator: LabelComparator.LESS_THAN, values: ["many"] },
          ],
        },
      ],
    });
    const error = await expectError(call, "invalid", "LABEL_CONSTRAINT_INVALID");
    expect(error.details.fieldViolations?.map(({ field }) => field)).toEqual([
      "tasks[0].label_constraints[0]",
      "tasks[0].label_constraints[1]",
    ]);
    const unknown = harness.client.submitJob({
      requestId: "unknown",
      tasks: [{ key: "a", capability: "x", labelConstraints: [{ key: "k" }] }],
    });
    await expectError(unknown, "invalid", "REQUEST_INVALID");
  });
});

describe("slot cost", () => {
  it("takes slots until the task ends, tells the agent, and is explained to who waits", async () => {
    harness.agent({ agentId: "wide", capabilities: ["wide"], slots: 4, behaviour: begin });
    await untilKnown("wide", 1);
    const tasks = ["a", "b"].map((key) => ({ key, capability: "wide", slotCost: 3 }));
    const jobId = await harness.submit({ tasks });
    const first = await untilLeased(jobId);
    const received = await assignmentOf(first.taskId);
    expect(received.assignment.slotCost).toBe(3);
    const { b } = await harness.tasksOf(jobId);
    expect(b).toMatchObject({ state: TaskState.READY, spec: { slotCost: 3 } });
    const { now } = await harness.client.explainTask({ taskId: b?.taskId ?? "" });
    expect(now?.rejections[0]).toMatchObject({ agentId: "wide", reason: "TOO_FEW_SLOTS" });
    const reasonFor = async (taskId = "") =>
      (await harness.client.explainTask({ taskId })).now?.rejections[0]?.reason;
    await waitFor(async () => (await reasonFor(b?.taskId)) === "RESERVED_FOR_THIS", {
      what: "the agent to be kept",
    });
    const behind = await harness.submit({ tasks: [{ key: "c", capability: "wide" }] });
    expect(await reasonFor((await harness.tasksOf(behind))["c"]?.taskId)).toBe("RESERVED");
    harness.router.complete(received, "done");
    const second = await untilLeased(jobId, "b");
    harness.router.complete(await assignmentOf(second.taskId), "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    const third = await untilLeased(behind, "c");
    harness.router.complete(await assignmentOf(third.taskId), "done");
    const cheap = await harness.submit({
      tasks: ["a", "b", "c", "d"].map((key) => ({ key, capability: "wide" })),
    });
    for (const key of ["a", "b", "c", "d"]) await untilLeased(cheap, key);
  });
});

describe("affinity", () => {
  it("sends the tasks of a key to the agent that had the last one, over jobs", async () => {
    for (const agentId of ["s1", "s2", "s3"]) harness.agent({ agentId, capabilities: ["chat"] });
    await untilKnown("chat", 3);
    const say = async (affinityKey: string) => {
      const jobId = await harness.submit({
        tasks: [{ key: "a", capability: "chat", affinityKey }],
      });
      await harness.untilState(jobId, JobState.COMPLETED);
      return (await harness.tasksOf(jobId))["a"];
    };
    const first = await say("talk-1");
    await say("talk-2");
    const again = [await say("talk-1"), await say("talk-1"), await say("talk-1")];
    expect(new Set(again.map((task) => task?.agentId))).toEqual(new Set([first?.agentId]));
    const taskId = again[0]?.taskId ?? "";
    const { attempts } = await harness.client.explainTask({ taskId });
    expect(attempts[0]?.decision?.factors).toMatchObject({ affinity: 1 });
    // Two others were there, of which neither had the key: the score of the next best shows it.
    const { score = 0, fallbackScore = 1 } = attempts[0]?.decision ?? {};
    expect(score - fallbackScore).toBeGreaterThan(0.19);
  });
});
