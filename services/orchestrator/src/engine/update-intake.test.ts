import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { PAYLOAD_MAX_BYTES } from "../domain/limits.ts";
import type { AgentSaying, SessionRef } from "../domain/ports.ts";
import type { AgentEntry } from "./agent-entry.ts";
import { addAgent, fakeFleet, fakeLease } from "./engine.fake.ts";
import { LeaseBook } from "./lease-book.ts";
import type { EndOrder, WordOutcome } from "./lease-orders.ts";
import type { EngineParts } from "./parts.ts";
import type { Planner } from "./planner.ts";
import type { Settler } from "./settler.ts";
import { OUTPUTS_WAITING_BYTES_MAX, UpdateIntake } from "./update-intake.ts";

const NAMESPACE = "default";
const EPOCH = 5n;
const SESSION: SessionRef = { namespace: NAMESPACE, agentId: "a", epoch: EPOCH };
const COMPLETED: AgentSaying = { kind: "COMPLETED", output: payloadOf(Buffer.from("{}")) };
const FAILED: AgentSaying = { kind: "FAILED", reason: "X", message: "", retryable: true };

function payloadOf(data: Buffer, storedBytes?: number) {
  const stored = storedBytes === undefined ? {} : { storedBytes };
  return { contentType: "application/json", data, ...stored };
}

/** An intake over one agent `a` with one lease, which it holds in epoch 5. Ends and statements are answered by the test. */
function setUp(options: { planning?: boolean } = {}) {
  const fleet = fakeFleet();
  const book = new LeaseBook();
  const agent = addAgent(fleet, "a", { slots: 2 });
  const live = fakeLease(agent, EPOCH);
  const { lease } = live;
  const jobId = `job_${"0".repeat(32)}`;
  const task = { ...lease.task, jobId, planning: options.planning ?? false };
  const held = { ...live, lease: { ...lease, task } };
  book.add(held);
  const log: string[] = [];
  const ends: { resolve(outcome: WordOutcome): void; reject(error: Error): void }[] = [];
  const statements: (() => void)[] = [];
  const parts = {
    book,
    ledger: { ownership: "owner", owns: () => true },
    pool: { query: () => new Promise<void>((resolve) => void statements.push(resolve)) },
    dispatch: { answer: () => log.push("answered"), cancel: () => true },
    events: { updateDropped: () => log.push("dropped") },
    limits: { updatesQueuedMax: 1_000 },
    nowMs: () => 0,
  };
  const settler = {
    say: ({ hear }: EndOrder) => {
      log.push("end queued");
      ends.push({ resolve: hear, reject: hear });
    },
    accept: () => Promise.resolve("COMMITTED"),
  };
  const intake = new UpdateIntake({
    parts: parts as unknown as EngineParts,
    settler: settler as unknown as Settler,
    planner: { complete: () => new Promise(() => undefined) } as unknown as Planner,
    onReleased: (entry: AgentEntry) => log.push(`${entry.agentId} has ${entry.leasedSlots} taken`),
  });
  const say = async (saying: AgentSaying, session = SESSION) => {
    const { taskId } = task;
    intake.receive({ router: "r", session, taskId, fence: lease.fence, saying });
    await settle();
  };
  return { parts, intake, agent, book, live: held, log, ends, statements, say };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
}

describe("UpdateIntake", () => {
  it("drops outputs beyond the bytes that may wait, until some have their outcome", async () => {
    const { log, ends, say } = setUp();
    const large: AgentSaying = {
      kind: "COMPLETED",
      output: payloadOf(Buffer.alloc(PAYLOAD_MAX_BYTES)),
    };
    const fitting = OUTPUTS_WAITING_BYTES_MAX / PAYLOAD_MAX_BYTES;
    for (let i = 0; i <= fitting; i += 1) await say(large);
    expect(ends).toHaveLength(fitting);
    expect(log.at(-1)).toBe("dropped");
    await say(FAILED);
    expect(ends).toHaveLength(fitting + 1);
    ends[0]?.resolve("COMMITTED");
    await say(large);
    expect(ends).toHaveLength(fitting + 2);
    await say(large);
    expect(log.at(-1)).toBe("dropped");
  });

  it("holds no more bytes of outputs while it may not write", async () => {
    const { parts, log, ends, intake, say } = setUp();
    const large: AgentSaying = {
      kind: "COMPLETED",
      output: payloadOf(Buffer.alloc(PAYLOAD_MAX_BYTES)),
    };
    parts.ledger.ownership = "lost";
    const fitting = OUTPUTS_WAITING_BYTES_MAX / PAYLOAD_MAX_BYTES;
    for (let i = 0; i < fitting; i += 1) await say(large);
    expect(log).toEqual([]);
    await say(large);
    expect(log).toEqual(["dropped"]);
    parts.ledger.ownership = "owner";
    intake.replay();
    expect(ends).toHaveLength(fitting);
  });

  it("frees the slots of a completed task once, when its end is queued and not when it is stored", async () => {
    const { agent, log, ends, say } = setUp();
    await say(COMPLETED);
    expect(log).toEqual(["end queued", "a has 0 taken"]);
    await say(COMPLETED);
    expect(agent.leasedSlots).toBe(0);
    for (const end of ends) end.resolve("COMMITTED");
    await settle();
    expect(agent.leasedSlots).toBe(0);
    expect(log.filter((entry) => entry === "answered")).toHaveLength(2);
  });

  it("takes them again when the end is refused for good: the lease stays until its deadline", async () => {
    const { agent, ends, say } = setUp();
    await say(COMPLETED);
    ends[0]?.resolve("STALE");
    await settle();
    expect(agent.leasedSlots).toBe(1);
  });

  it("keeps them free when a repeated end could not be queued, while the first one still is", async () => {
    const { agent, ends, say } = setUp();
    await say(COMPLETED);
    await say(COMPLETED);
    ends[1]?.reject(new NexusError({ kind: "exhausted", reason: "QUEUE_FULL", message: "full" }));
    await settle();
    expect(agent.leasedSlots).toBe(0);
    expect(agent.doneSlots).toBe(1);
  });

  it("leaves the slots of the same lease alone that memory has read anew", async () => {
    const { agent, book, ends, live, say } = setUp();
    await say(COMPLETED);
    book.clear();
    book.add({ ...live, done: false });
    ends[0]?.reject(new NexusError({ kind: "unavailable", reason: "NOT_OWNER", message: "gone" }));
    await settle();
    expect([agent.leasedSlots, agent.doneSlots]).toEqual([1, 0]);
  });

  it("takes them again when the end could not be queued or stored, until the agent says it again", async () => {
    const { agent, log, ends, say } = setUp();
    await say(COMPLETED);
    ends[0]?.reject(new NexusError({ kind: "exhausted", reason: "QUEUE_FULL", message: "full" }));
    await settle();
    expect(log.slice(2)).toEqual(["a has 1 taken", "dropped"]);
    await say(COMPLETED);
    expect(agent.leasedSlots).toBe(0);
  });

  it.each<[string, AgentSaying, SessionRef]>([
    ["a failure: the breaker has the word first", FAILED, SESSION],
    ["a task that is given back", { kind: "RELEASED", message: "" }, SESSION],
    ["a task that begins", { kind: "ACCEPTED" }, SESSION],
    ["the word of another agent", COMPLETED, { ...SESSION, agentId: "b" }],
    ["the word of an older session", COMPLETED, { ...SESSION, epoch: EPOCH - 1n }],
    [
      "an output that is too large",
      { kind: "COMPLETED", output: payloadOf(Buffer.alloc(PAYLOAD_MAX_BYTES + 1)) },
      SESSION,
    ],
  ])("frees nothing for %s", async (_what, saying, session) => {
    const { agent, log, say } = setUp();
    await say(saying, session);
    expect(agent.leasedSlots).toBe(1);
    expect(log).not.toContain("a has 0 taken");
  });

  it("frees nothing for a plan, which is read and admitted before its end is queued", async () => {
    const { agent, say } = setUp({ planning: true });
    await say(COMPLETED);
    expect(agent.leasedSlots).toBe(1);
  });

  it("waits for an output that is stored apart, whose end is queued when it is bound", async () => {
    const { agent, log, statements, say } = setUp();
    await say({ kind: "COMPLETED", output: payloadOf(Buffer.alloc(32), 1_000_000) });
    expect(statements).toHaveLength(1);
    expect(agent.leasedSlots).toBe(1);
    statements[0]?.();
    await settle();
    expect(log).toEqual(["end queued", "a has 0 taken"]);
  });
});
