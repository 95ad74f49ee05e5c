import { StatePolicy } from "@nexus/proto/mesh";
import {
  AgentState,
  createAgent,
  JobState,
  type NexusClient,
  type StateEvent,
  TaskState,
} from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFleet, submitTasks, type TestFleet, type TestUser, waitForEnd } from "./_fleet.ts";

const TASKS = 80;
const WRITES_AT_ONCE = 8;

let fleet: TestFleet;
let user: TestUser;

beforeAll(async () => {
  fleet = await startFleet();
  user = await fleet.createUser();
  await fleet.startAgent("steady-1", 2);
  await fleet.startAgent("steady-2", 2);
}, 120_000);

afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
}, 60_000);

function waitTasks(count: number, ms: number) {
  return Array.from({ length: count }, (_, index) => ({
    key: `t${index}`,
    capability: "work.wait",
    input: { ms },
  }));
}

async function countSucceeded(client: NexusClient, jobId: string): Promise<number> {
  const { job } = await client.jobs.getJob({ jobId });
  return job?.tasks?.succeeded ?? 0;
}

/** How often each task became terminal, by the job's durable history. */
async function countEnds(client: NexusClient, jobId: string): Promise<Map<string, number>> {
  const terminal = new Set([TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED]);
  const ends = new Map<string, number>();
  for await (const { events } of client.jobs.watchJob({ jobId })) {
    for (const { event } of events) {
      if (event.case !== "taskChanged" || !terminal.has(event.value.state)) continue;
      ends.set(event.value.taskKey, (ends.get(event.value.taskKey) ?? 0) + 1);
    }
  }
  return ends;
}

async function expectAllDoneOnce(jobId: string): Promise<void> {
  const job = await waitForEnd(user.client, jobId, 90_000);
  expect(job.state).toBe(JobState.COMPLETED);
  expect(job.tasks).toMatchObject({ total: TASKS, succeeded: TASKS });
  const ends = await countEnds(user.client, jobId);
  expect(ends.size).toBe(TASKS);
  expect(new Set(ends.values())).toEqual(new Set([1]));
  await expectCountedOnce(jobId);
}

/** Each success reaches insight once, whoever told it: what a killed orchestrator left, its successor tells. */
async function expectCountedOnce(jobId: string): Promise<void> {
  const counted = async () => {
    const { total } = await user.client.analytics.getJobPerformance({ jobId });
    return Number(total?.succeeded);
  };
  await waitFor(async () => (await counted()) >= TASKS, {
    timeoutMs: 30_000,
    what: "insight to count every success",
  });
  expect(await counted()).toBe(TASKS);
}

/** Notes the revision of every change until the signal aborts. A watch gives up when stream after stream breaks, as they do while a
 * busy machine starts what was killed; then another one goes on behind the last change that was told. */
async function watchOn(
  client: NexusClient,
  bucket: string,
  { revisions, signal }: { readonly revisions: bigint[]; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const after = revisions.at(-1);
    const from = after === undefined ? {} : { after };
    const watch = client.bucket(bucket).watch({ signal, ...from });
    await noteRevisions(watch, revisions).catch((error: unknown) => {
      if (NexusError.from(error).kind !== "unavailable") throw error;
    });
  }
}

async function noteRevisions(
  watch: AsyncIterable<StateEvent<unknown>>,
  revisions: bigint[],
): Promise<void> {
  for await (const event of watch) {
    if ("revision" in event) revisions.push(event.revision);
  }
}

async function waitForProgress(jobId: string): Promise<void> {
  await waitFor(async () => (await countSucceeded(user.client, jobId)) >= 8, {
    timeoutMs: 30_000,
    what: "some tasks to finish",
  });
}

describe("a fleet under faults", () => {
  it("loses no task and finishes none twice when the orchestrator is killed mid-job", async () => {
    const jobId = await submitTasks(user.client, waitTasks(TASKS, 50));
    await waitForProgress(jobId);
    await fleet.stack.processes.kill("orchestrator");
    await fleet.stack.processes.waitReady("orchestrator");
    await expectAllDoneOnce(jobId);
  }, 150_000);

  it("loses no task and finishes none twice when Postgres is killed mid-job", async () => {
    const jobId = await submitTasks(user.client, waitTasks(TASKS, 50));
    await waitForProgress(jobId);
    await fleet.stack.processes.kill("postgres");
    await expectAllDoneOnce(jobId);
  }, 150_000);

  it("loses no task and finishes none twice when the mesh-router is killed mid-job", async () => {
    const jobId = await submitTasks(user.client, waitTasks(TASKS, 50));
    await waitForProgress(jobId);
    await fleet.stack.processes.kill("mesh-router");
    await expectAllDoneOnce(jobId);
  }, 150_000);

  it("hands every durable message over once and in order when the mesh-router is killed", async () => {
    const { gateway } = fleet.stack.info;
    const handled: number[] = [];
    const receiverId = await fleet.createAgentIdentity("mail-receiver");
    await using receiver = await createAgent({ gateway, ...receiverId })
      .capability("mail.take@1.0.0", {}, () => undefined)
      .onMessage("note", ({ body }) => void handled.push(body as number))
      .start();
    await using sender = await createAgent({
      gateway,
      ...(await fleet.createAgentIdentity("mail-sender")),
    })
      .capability("mail.give@1.0.0", {}, () => undefined)
      .start();
    const sent: Promise<unknown>[] = [];
    const send = (from: number, to: number) => {
      for (let i = from; i < to; i += 1) {
        const options = { durable: true, timeoutMs: 60_000 } as const;
        sent.push(sender.send(receiver.agentId, "note", i, options));
      }
    };
    send(0, 400);
    await waitFor(() => handled.length > 50, { what: "some messages" });
    await fleet.stack.processes.kill("mesh-router");
    send(400, 600);
    await Promise.all(sent);
    await waitFor(() => handled.length >= 600, { timeoutMs: 60_000, what: "all messages" });
    expect(handled).toEqual(Array.from({ length: 600 }, (_, i) => i));
  }, 120_000);

  it("gives a killed agent's task to another one without charging the attempt", async () => {
    const doomed = await fleet.spawnAgent("doomed-1");
    const jobId = await submitTasks(user.client, [
      { key: "held", capability: "work.wait", input: { ms: 400 }, requiredLabels: {} },
      ...waitTasks(12, 400),
    ]);
    const held = await waitFor(
      async () => {
        const { tasks } = await user.client.jobs.listTasks({ jobId });
        return tasks.find((task) => task.agentId === "doomed-1" && task.fence > 0n);
      },
      { timeoutMs: 30_000, what: "the doomed agent to hold a task" },
    );
    doomed.kill("SIGKILL");
    const job = await waitForEnd(user.client, jobId);
    expect(job.state).toBe(JobState.COMPLETED);
    const { attempts, task } = await user.client.jobs.explainTask({ taskId: held.taskId });
    expect(attempts[0]).toMatchObject({ agentId: "doomed-1", outcome: "LOST", charged: false });
    expect(attempts.at(-1)).toMatchObject({ outcome: "SUCCEEDED" });
    expect(task?.agentId).not.toBe("doomed-1");
    const lost = await waitFor(
      async () => {
        const { agent } = await user.client.registry.getAgent({ agentId: "doomed-1" });
        return agent?.state === AgentState.LOST;
      },
      { timeoutMs: 20_000, what: "the registry to know that the agent is lost" },
    );
    expect(lost).toBe(true);
  }, 120_000);

  it("keeps everything over a restart of every service in turn", async () => {
    const jobId = await submitTasks(user.client, waitTasks(TASKS, 50));
    for (const name of ["vault", "registry", "insight", "gateway"] as const) {
      await fleet.stack.processes.kill(name);
      await fleet.stack.processes.waitReady(name);
    }
    await expectAllDoneOnce(jobId);
  }, 180_000);

  it("counts each answered write of an agent's session once when the mesh-router is killed", async () => {
    const buckets = Array.from({ length: WRITES_AT_ONCE }, (_, at) => `session-sums-${at}`);
    const policy = StatePolicy.COUNTER;
    for (const bucket of buckets) {
      await fleet.admin.state.createBucket({ requestId: `make-${bucket}`, bucket, policy });
    }
    const { gateway } = fleet.stack.info;
    const identity = await fleet.createAgentIdentity("adder");
    await using adder = await createAgent({ gateway, ...identity })
      .capability("state.add@1.0.0", {}, () => undefined)
      .start();
    const answered = new Set<string>();
    const asked: { readonly bucket: string; readonly key: string }[] = [];
    // A key for each increment: one that is counted twice shows, whatever the others came to.
    const add = async (bucket: string): Promise<void> => {
      const sums = adder.state.bucket(bucket);
      while (answered.size < TASKS) {
        const key = `k${asked.length}`;
        asked.push({ bucket, key });
        // One that failed may have been counted; one that was answered was, once.
        const sum = await sums.increment(key).catch(() => undefined);
        if (sum !== undefined) answered.add(key);
      }
    };
    const adding = buckets.map(add);
    const untilAnswered = (count: number) =>
      waitFor(() => answered.size >= count, { what: `${count} answers`, timeoutMs: 60_000 });
    await untilAnswered(10);
    await fleet.stack.processes.kill("mesh-router");
    await untilAnswered(30);
    await fleet.stack.processes.kill("mesh-router");
    await Promise.all(adding);
    const wrong: string[] = [];
    for (const bucket of buckets) {
      const sums = new Map<string, bigint>();
      for await (const { key, counter } of adder.state.bucket(bucket).list()) {
        sums.set(key, counter);
      }
      for (const { key } of asked.filter((one) => one.bucket === bucket)) {
        const sum = sums.get(key) ?? 0n;
        if (sum > 1n || (sum === 0n && answered.has(key))) wrong.push(`${bucket} ${key} ${sum}`);
      }
    }
    expect(wrong).toEqual([]);
  }, 150_000);

  it("counts each write of state once, and misses no change, when mesh-router and Postgres are killed", async () => {
    const { admin, stack } = fleet;
    const bucket = "sums";
    await admin.state.createBucket({ requestId: "make", bucket, policy: StatePolicy.COUNTER });
    const stop = new AbortController();
    const revisions: bigint[] = [];
    const watching = watchOn(admin, bucket, { revisions, signal: stop.signal });
    // Awaited at the end; a failure before that must not count as one that nobody handles.
    watching.catch(() => undefined);
    // A change that is committed while the watch still reads the keys is told with its key, and not again as a change.
    await waitFor(() => revisions.length > 0, { what: "the watch to hold", timeoutMs: 30_000 });
    const answers = new Map<string, bigint>();
    const increments = Array.from({ length: TASKS }, (_, at) => ({
      requestId: `r${at}`,
      bucket,
      key: "k",
      increment: { delta: 1n },
    }));
    const writing = increments.map(async (increment, at) => {
      // Some at a time, so that each kill finds writes under way.
      await waitFor(() => answers.size >= at - WRITES_AT_ONCE, {
        what: "a turn",
        timeoutMs: 60_000,
      });
      const answer = await waitFor(() => admin.state.incrementEntry(increment), {
        what: "the answer to a write",
        timeoutMs: 60_000,
      });
      answers.set(increment.requestId, answer.result?.counter ?? 0n);
    });
    const untilAnswered = (count: number) =>
      waitFor(() => answers.size >= count, { what: `${count} answers`, timeoutMs: 60_000 });
    await untilAnswered(10);
    await stack.processes.kill("mesh-router");
    await untilAnswered(30);
    await stack.processes.kill("postgres");
    await untilAnswered(50);
    await stack.processes.kill("mesh-router");
    await Promise.all(writing);
    const { entry } = await admin.state.getEntry({ bucket, key: "k" });
    expect(entry?.counter).toBe(BigInt(TASKS));
    // Each write has its own place in the sum, and keeps it when it is asked for again.
    const sums = [...answers.values()].sort((a, b) => Number(a - b));
    expect(sums).toEqual(increments.map((_, at) => BigInt(at + 1)));
    for (const increment of increments.slice(0, 10)) {
      const { result } = await admin.state.incrementEntry(increment);
      expect(result?.counter).toBe(answers.get(increment.requestId));
    }
    const last = entry?.revision ?? 0n;
    await waitFor(() => revisions.at(-1) === last, { what: "the last change", timeoutMs: 30_000 });
    const [from = 0n] = revisions;
    expect(revisions).toEqual(Array.from({ length: TASKS + 1 }, (_, at) => from + BigInt(at)));
    stop.abort();
    await watching;
  });
});
