import { create } from "@bufbuild/protobuf";
import { AssignmentSchema, TaskCancelSchema } from "@nexus/proto/mesh";
import { createSilentLogger } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createCapability } from "./capability.ts";
import { Mailbox } from "./mailbox.ts";
import { Outbox } from "./outbox.ts";
import { TaskRunner } from "./task-runner.ts";

/** A runner whose only handler ends when its lease does. */
function createRunner(): TaskRunner {
  const outbox = new Outbox();
  const logger = createSilentLogger();
  const capability = createCapability("hold@1.0.0", {}, async ({ signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  });
  return new TaskRunner({
    capabilities: new Map([["hold@1.0.0", capability]]),
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
}

function assignment(taskId: string, slotCost: number) {
  const [capability, capabilityVersion] = ["hold", "1.0.0"];
  return create(AssignmentSchema, { taskId, fence: 1n, slotCost, capability, capabilityVersion });
}

describe("TaskRunner", () => {
  it("counts the slots that its tasks take, once for a repeated assignment, until they end", async () => {
    const runner = createRunner();
    runner.assign(assignment("wide", 3));
    runner.assign(assignment("wide", 3));
    runner.assign(assignment("plain", 0));
    expect([runner.running, runner.busySlots]).toEqual([2, 4]);
    runner.cancel(create(TaskCancelSchema, { taskId: "wide", fence: 1n, reason: "JOB_CANCELLED" }));
    await new Promise((resolve) => setImmediate(resolve));
    expect([runner.running, runner.busySlots]).toEqual([1, 1]);
    runner.leasesLost();
    await new Promise((resolve) => setImmediate(resolve));
    expect([runner.running, runner.busySlots]).toEqual([0, 0]);
  });
});
