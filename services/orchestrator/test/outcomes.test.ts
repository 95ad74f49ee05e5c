import { JobState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";

const harness = new Harness();
beforeAll(async () => {
  await harness.open();
  harness.agent({ agentId: "good", capabilities: ["works"] });
  harness.agent({
    agentId: "bad",
    capabilities: ["breaks"],
    behaviour: (received, router) => router.fail(received, "BROKEN", { retryable: false }),
  });
});
afterAll(() => harness.close());

describe("outcomes", () => {
  it("tell registry and insight who did what, how long it took and why it failed", async () => {
    const ok = await harness.submit({ tasks: [{ key: "a", capability: "works" }] });
    const broken = await harness.submit({ tasks: [{ key: "a", capability: "breaks" }] });
    await harness.untilState(ok, JobState.COMPLETED);
    await harness.untilState(broken, JobState.FAILED);
    await waitFor(() => harness.peers.outcomes.length >= 2, { what: "two outcomes" });
    await waitFor(() => harness.peers.samples.length >= 2, { what: "two samples" });
    const [success, failure] = harness.peers.outcomes;
    expect(success).toMatchObject({
      namespace: "default",
      agentId: "good",
      capability: "works",
      success: true,
      reason: "",
    });
    expect(success?.runTime).toBeDefined();
    expect(failure).toMatchObject({ agentId: "bad", success: false, reason: "BROKEN" });
    const sample = harness.peers.samples[0];
    expect(sample).toMatchObject({
      namespace: "default",
      sampleId: `${success?.taskId}:${success?.fence}`,
      measurement: {
        case: "task",
        value: { jobId: ok, agentId: "good", capability: "works", attempt: 1, success: true },
      },
    });
    await waitFor(async () => (await harness.count("outbox")) === 0, { what: "an empty outbox" });
  });

  it("wait for a receiver that is away, and hold up neither tasks nor the other receiver", async () => {
    harness.peers.outcomesDown = true;
    const before = { o: harness.peers.outcomes.length, s: harness.peers.samples.length };
    const tasks = Array.from({ length: 5 }, (_, i) => ({ key: `t${i}`, capability: "works" }));
    const jobId = await harness.submit({ tasks });
    await harness.untilState(jobId, JobState.COMPLETED);
    await waitFor(() => harness.peers.samples.length === before.s + 5, { what: "five samples" });
    expect(harness.peers.outcomes).toHaveLength(before.o);
    expect(await harness.count("outbox")).toBe(5);
    harness.peers.outcomesDown = false;
    await waitFor(() => harness.peers.outcomes.length === before.o + 5, {
      what: "five outcomes",
      timeoutMs: 20_000,
    });
    expect(harness.peers.samples).toHaveLength(before.s + 5);
    await waitFor(async () => (await harness.count("outbox")) === 0, { what: "an empty outbox" });
  });
});
