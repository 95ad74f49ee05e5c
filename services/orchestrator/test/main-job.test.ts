import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { initTracing } from "@nexus/telemetry";
import { waitFor } from "@nexus/testkit";
import { propagation, ROOT_CONTEXT } from "@opentelemetry/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, text, textOf } from "./_harness.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

describe("a job", () => {
  it("is routed, leased, run and completed, with data passed along its edges", async () => {
    harness.agent({ agentId: "worker", capabilities: ["text.analyse@1.2.0", "report@2.0.0"] });
    const jobId = await harness.submit({
      objective: "report",
      tasks: [
        { key: "a", capability: "text.analyse", versionRange: "^1.0.0", input: text("one") },
        { key: "b", capability: "text.analyse", input: text("two") },
        {
          key: "c",
          capability: "report",
          dependencies: [
            { taskKey: "a", inputName: "left" },
            { taskKey: "b", inputName: "right" },
          ],
        },
      ],
    });
    const job = await harness.untilState(jobId, JobState.COMPLETED);
    expect(job.tasks).toMatchObject({ total: 3, succeeded: 3, ready: 0, active: 0, blocked: 0 });
    expect(Object.keys(job.results)).toEqual(["c"]);
    expect(textOf(job.results["c"])).toBe("c:");
    const composed = harness.router.assignments.find((item) => item.assignment.taskKey === "c");
    expect(textOf(composed?.assignment.upstream["left"])).toBe("a:one");
    expect(textOf(composed?.assignment.upstream["right"])).toBe("b:two");
    const first = harness.router.assignments.find((item) => item.assignment.taskKey === "a");
    expect(first?.assignment).toMatchObject({
      jobId,
      attempt: 1,
      capability: "text.analyse",
      capabilityVersion: "1.2.0",
    });
    const { a } = await harness.tasksOf(jobId);
    expect(a).toMatchObject({
      state: TaskState.SUCCEEDED,
      attempts: 1,
      progress: 1,
      agentId: "worker",
    });
    await waitFor(() => harness.router.results.length === 3, { what: "three answers" });
    expect(await harness.count("ready")).toBe(0);
    expect(await harness.count("leases")).toBe(0);
    await waitFor(() => harness.peers.outcomes.length === 3, { what: "three outcomes" });
    await waitFor(() => harness.peers.samples.length === 3, { what: "three samples" });
  });

  it("continues its submitter's trace up to the agent", async () => {
    const tracing = await initTracing({ service: "orchestrator" });
    try {
      const traceId = "0af7651916cd43dd8448eb211c80319c";
      const carrier = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
      const { job } = await harness.client.submitJob(
        { requestId: "traced", tasks: [{ key: "traced", capability: "report" }] },
        { traceContext: propagation.extract(ROOT_CONTEXT, carrier) },
      );
      await harness.untilState(job?.jobId ?? "", JobState.COMPLETED);
      const sent = harness.router.assignments.find((item) => item.assignment.taskKey === "traced");
      expect(sent?.assignment.traceparent.split("-")[1]).toBe(traceId);
    } finally {
      await tracing.shutdown();
    }
  });
});
