import { SessionState, TaskUpdateOutcome } from "@nexus/proto/mesh";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Harness, textOf } from "./_harness.ts";
import { begin, type Received } from "./_router.ts";

const harness = new Harness();
beforeAll(() => harness.open());
afterAll(() => harness.close());

let jobId: string;
/** An attempt whose lease ended with its session, and the one that runs now. */
let zombie: Received;
let heir: Received;

function nthAssignment(nth: number): Promise<Received> {
  return waitFor(
    () => harness.router.assignments.filter(({ assignment }) => assignment.jobId === jobId)[nth],
    { what: `assignment ${nth + 1} of ${jobId}` },
  );
}

async function task() {
  return (await harness.tasksOf(jobId))["a"];
}

let made = 0;

/** Gives a task to one of two agents, which loses its session, so that the other one gets it and runs it. */
beforeEach(async () => {
  made += 1;
  const capability = `relay-${made}`;
  for (const name of ["castor", "pollux"]) {
    const agentId = `${name}-${made}`;
    harness.agent({ agentId, capabilities: [capability], behaviour: begin });
  }
  jobId = await harness.submit({ tasks: [{ key: "a", capability }] });
  zombie = await nthAssignment(0);
  harness.router.setState(zombie.agentId, SessionState.LOST);
  heir = await nthAssignment(1);
  await waitFor(async () => (await task())?.state === TaskState.RUNNING, { what: "it to run" });
  harness.router.cancels.length = 0;
});

/** Waits until the zombie is told, after what was said last, that it has lost its lease. */
async function untilToldToStop(): Promise<void> {
  await waitFor(
    () =>
      harness.router.cancels.some(
        ({ agentId, cancel }) =>
          agentId === zombie.agentId &&
          cancel.fence === zombie.assignment.fence &&
          cancel.reason === "LEASE_LOST",
      ),
    { what: "the agent to be told to stop" },
  );
}

async function untilStale(): Promise<void> {
  const outcome = await waitFor(() => harness.router.outcomeOf(zombie), { what: "an answer" });
  expect(outcome).toBe(TaskUpdateOutcome.STALE);
}

/** The running attempt is as it was, and its own end still counts. */
async function expectUntouched(): Promise<void> {
  expect(heir.assignment.fence).toBeGreaterThan(zombie.assignment.fence);
  expect(await task()).toMatchObject({
    state: TaskState.RUNNING,
    agentId: heir.agentId,
    fence: heir.assignment.fence,
    attempts: 2,
    progress: 0,
  });
  harness.router.complete(heir, "the heir's");
  const job = await harness.untilState(jobId, JobState.COMPLETED);
  expect(textOf(job.results["a"])).toBe("the heir's");
}

describe("a word under a fence that is over", () => {
  it("changes nothing when it is an acceptance, and has the agent told to stop", async () => {
    harness.router.accept(zombie);
    await untilToldToStop();
    await expectUntouched();
  });

  it("changes nothing when it is progress, and has the agent told to stop", async () => {
    harness.router.progress(zombie, 0.9, "nearly");
    await untilToldToStop();
    await expectUntouched();
  });

  it("reaches no watcher when it is a chunk, and has the agent told to stop", async () => {
    const watch = harness.client.watchJob({ jobId });
    const chunks: string[] = [];
    const watched = (async () => {
      for await (const { events } of watch) {
        for (const { event } of events) {
          if (event.case === "taskChunk") chunks.push(Buffer.from(event.value.data).toString());
        }
      }
    })();
    let sequence = 0n;
    await waitFor(
      () => {
        sequence += 1n;
        harness.router.chunk(heir, sequence, "live");
        return chunks.includes("live");
      },
      { what: "the watch to be open" },
    );
    harness.router.chunk(zombie, 1n, "stale");
    await untilToldToStop();
    await expectUntouched();
    await watched;
    expect(chunks).not.toContain("stale");
  });

  it("is answered STALE when it is a completion", async () => {
    harness.router.complete(zombie, "the zombie's");
    await untilStale();
    await expectUntouched();
  });

  it("is answered STALE when it is a failure, also a final one", async () => {
    harness.router.fail(zombie, "BAD_INPUT", { retryable: false });
    await untilStale();
    await expectUntouched();
  });

  it("is answered STALE when it gives the task back", async () => {
    harness.router.release(zombie);
    await untilStale();
    await expectUntouched();
  });
});

describe("a word under the live fence from a session that does not hold it", () => {
  it("counts as stale, whatever it says", async () => {
    const thief = { ...heir, agentId: zombie.agentId };
    harness.router.progress(thief, 0.9);
    harness.router.complete(thief, "stolen");
    const told = await waitFor(
      () => harness.router.results.find(({ agentId }) => agentId === thief.agentId),
      { what: "an answer" },
    );
    expect(told.result.outcome).toBe(TaskUpdateOutcome.STALE);
    await waitFor(
      () => harness.router.cancels.some(({ cancel }) => cancel.fence === heir.assignment.fence),
      { what: "the thief to be told to stop" },
    );
    await expectUntouched();
  });
});
