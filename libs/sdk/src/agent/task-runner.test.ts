import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { AssignmentSchema, TaskCancelSchema, TaskUpdateResultSchema } from "@nexus/proto/mesh";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { describe, expect, it, vi } from "vitest";
import { type Capability, createCapability, type TaskHandler } from "./capability.ts";
import { Mailbox } from "./mailbox.ts";
import { type Frame, Outbox } from "./outbox.ts";
import { TaskError } from "./task-error.ts";
import { TaskRunner } from "./task-runner.ts";

/** Ends when its lease does. */
const hold: TaskHandler<unknown, unknown> = async ({ signal }) => {
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  signal.throwIfAborted();
};

function setUp(handler: TaskHandler<unknown, unknown> = hold) {
  const outbox = new Outbox();
  const logger = createSilentLogger();
  const capabilities = new Map<string, Capability>();
  const add = (spec: string, run: TaskHandler<unknown, unknown>): void => {
    capabilities.set(spec, createCapability(spec, {}, run));
  };
  add("work@1.0.0", handler);
  const runner = new TaskRunner({
    capabilities,
    outbox,
    mailbox: new Mailbox({ outbox, logger }),
    readSecret: () => Promise.reject(new Error("there are no secrets here")),
    stateOf: () => {
      throw new Error("there is no state here");
    },
    payloads: {
      fetch: () => Promise.reject(new Error("nothing is stored here")),
      store: () => Promise.reject(new Error("nothing is stored here")),
    },
    logger,
  });
  const frames = outbox.frames({});
  /** The words of the next frame: which of which task, and the reason of a failure. */
  const words = async () => {
    const { value }: { value: Frame } = await frames.next();
    return (value.taskUpdates ?? []).map(({ taskId, update }) =>
      update?.case === "failed"
        ? `${taskId} failed ${update.value.reason}${update.value.retryable ? "" : " for good"}`
        : `${taskId} ${update?.case}`,
    );
  };
  return { runner, outbox, words, add };
}

function assignment(taskId: string, { slotCost = 0, timeoutMs = 60_000 } = {}) {
  const [capability, capabilityVersion] = ["work", "1.0.0"];
  const timeout = durationFromMs(timeoutMs);
  return create(AssignmentSchema, {
    taskId,
    fence: 1n,
    slotCost,
    capability,
    capabilityVersion,
    timeout,
  });
}

/** An object with one method: with `then`, no promise, but taken for one. */
function objectWith(
  name: string,
  method: (resolve: (value: unknown) => void, reject: (error: Error) => void) => void,
): unknown {
  return { [name]: method };
}

const cancel = (taskId: string) =>
  create(TaskCancelSchema, { taskId, fence: 1n, reason: "JOB_CANCELLED" });

describe("TaskRunner", () => {
  it("counts the slots that its tasks take, once for a repeated assignment, until they end", async () => {
    const { runner } = setUp();
    runner.assign([assignment("wide", { slotCost: 3 })]);
    runner.assign([assignment("wide", { slotCost: 3 })]);
    runner.assign([assignment("plain")]);
    expect([runner.running, runner.busySlots]).toEqual([2, 4]);
    runner.cancel(cancel("wide"));
    await new Promise((resolve) => setImmediate(resolve));
    expect([runner.running, runner.busySlots]).toEqual([1, 1]);
    runner.leasesLost();
    await new Promise((resolve) => setImmediate(resolve));
    expect([runner.running, runner.busySlots]).toEqual([0, 0]);
  });

  it("ends the task of a handler that returns at once before anything else happens", async () => {
    const { runner, words } = setUp(() => "done");
    await words();
    runner.assign([assignment("a")]);
    runner.assign([assignment("b")]);
    expect(runner.running).toBe(0);
    expect(await words()).toEqual(["a completed", "b completed"]);
  });

  it("fails the task of a handler that throws at once", async () => {
    const { runner, words } = setUp(() => {
      throw new Error("no");
    });
    await words();
    runner.assign([assignment("a")]);
    expect(runner.running).toBe(0);
    expect(await words()).toEqual(["a failed AGENT_ERROR"]);
  });

  it("fails a task for good, with the reason, when its handler was forbidden something", async () => {
    const { runner, words } = setUp(() => {
      throw new NexusError({ kind: "forbidden", reason: "SCOPE_MISSING", message: "No." });
    });
    await words();
    runner.assign([assignment("a")]);
    expect(await words()).toEqual(["a failed SCOPE_MISSING for good"]);
  });

  it("says that a task has begun before any word of its handler", async () => {
    const { runner, words } = setUp(({ progress, stream }) => {
      progress(0.5);
      stream("half");
      return "done";
    });
    await words();
    runner.assign([assignment("a")]);
    expect(await words()).toEqual(["a accepted", "a progress", "a chunk", "a completed"]);
  });

  it("says that a task has begun whose handler has to be waited for", async () => {
    const { runner, words } = setUp();
    await words();
    runner.assign([assignment("a")]);
    expect(await words()).toEqual(["a accepted"]);
    runner.assign([assignment("a")]);
    expect(await words()).toEqual(["a accepted"]);
  });

  it("tells a handler to stop at its deadline", async () => {
    const { runner, words } = setUp();
    await words();
    runner.assign([assignment("a", { timeoutMs: 1 })]);
    let word = (await words()).at(-1);
    // It may be over before the frame is made that would say that it began.
    if (word === "a accepted") word = (await words()).at(-1);
    expect(word).toBe("a failed DEADLINE_EXCEEDED");
  });

  it("shows a handler that its lease is over, whenever it looks", async () => {
    let look: () => void = () => undefined;
    const looked = new Promise<void>((resolve) => {
      look = resolve;
    });
    let reason: unknown;
    const { runner } = setUp(async (ctx) => {
      await looked;
      reason = ctx.signal.reason;
      ctx.progress(1);
    });
    runner.assign([assignment("a")]);
    runner.cancel(cancel("a"));
    look();
    await new Promise((resolve) => setImmediate(resolve));
    expect(reason).toMatchObject({ reason: "JOB_CANCELLED" });
    expect(runner.running).toBe(0);
  });

  it("waits for whatever has a then, as await does", async () => {
    const done = objectWith("then", (resolve) => setImmediate(resolve, "done"));
    const lazy = objectWith("then", (resolve) => resolve(Promise.resolve(1)));
    const broken = objectWith("then", (_resolve, reject) => setImmediate(reject, new Error("no")));
    for (const [returned, end] of [
      [done, "a completed"],
      [lazy, "a completed"],
      [broken, "a failed AGENT_ERROR"],
    ] as const) {
      const { runner, words } = setUp(() => returned);
      await words();
      runner.assign([assignment("a")]);
      expect(runner.running).toBe(1);
      const said = await words();
      expect([...said, ...(said.includes(end) ? [] : await words())].at(-1)).toBe(end);
    }
  });

  it("runs each task with the capability and the version that it names", async () => {
    const { runner, words, add } = setUp(() => "done");
    add("work@2.0.0", () => {
      throw new TaskError({ reason: "NEWER", message: "Not this one." });
    });
    await words();
    const versions = ["1.0.0", "2.0.0", "2.0.0", "1.0.0", "3.0.0", "1.0.0"];
    runner.assign(
      versions.map((capabilityVersion, at) => ({ ...assignment(`t${at}`), capabilityVersion })),
    );
    expect(await words()).toEqual([
      "t0 completed",
      "t1 failed NEWER for good",
      "t2 failed NEWER for good",
      "t3 completed",
      "t4 failed CAPABILITY_UNKNOWN",
      "t5 completed",
    ]);
  });

  it("says an end again that is not answered from one heartbeat to the next", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const { runner, outbox, words } = setUp(() => "done");
      await words();
      runner.assign([assignment("a"), assignment("b")]);
      expect(await words()).toEqual(["a completed", "b completed"]);
      const heartbeat = async () => {
        runner.resendOverdue();
        outbox.send({ messageId: "m" });
        const said = await words();
        vi.setSystemTime(Date.now() + 5_000);
        return said;
      };
      expect(await heartbeat()).toEqual([]);
      runner.settle(create(TaskUpdateResultSchema, { taskId: "b", fence: 1n }));
      expect(await heartbeat()).toEqual(["a completed"]);
      expect(await heartbeat()).toEqual([]);
      expect(await heartbeat()).toEqual(["a completed"]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("says nothing more for a handler that goes on after its end", async () => {
    let late: () => void = () => undefined;
    const { runner, outbox, words } = setUp((ctx) => {
      late = () => {
        ctx.progress(0.5);
        ctx.stream("late");
      };
      return "done";
    });
    await words();
    runner.assign([assignment("a")]);
    expect(await words()).toEqual(["a completed"]);
    late();
    outbox.send({ messageId: "m" });
    expect(await words()).toEqual([]);
  });

  it("fails the task of a handler that throws what has no text", async () => {
    const { runner, words } = setUp(() => {
      throw Object.create(null);
    });
    await words();
    runner.assign([assignment("a")]);
    expect(await words()).toEqual(["a failed AGENT_ERROR"]);
    expect(runner.busySlots).toBe(0);
  });
});
