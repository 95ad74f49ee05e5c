import { create } from "@bufbuild/protobuf";
import { AckKind, AssignmentSchema, DeliverySchema } from "@nexus/proto/mesh";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RawPayload } from "../payload.ts";
import { Lease } from "./lease.ts";
import { Mailbox, MESSAGE_CREDIT } from "./mailbox.ts";
import { type Frame, Outbox } from "./outbox.ts";
import { RunningContext, type TaskTools } from "./running-context.ts";
import { TaskError } from "./task-error.ts";

const logger = createSilentLogger();
const outbox = new Outbox();
const mailbox = new Mailbox({ outbox, logger });
afterEach(() => {
  outbox.reset();
  mailbox.connectionLost(false);
});

/** What would go out now, after the first frame. */
async function waiting(): Promise<Frame[]> {
  const frames: Frame[] = [];
  const stream = outbox.frames({});
  outbox.close();
  for await (const frame of stream) frames.push(frame);
  return frames.slice(1);
}

async function readAll(parts: AsyncIterable<unknown>): Promise<unknown[]> {
  const read: unknown[] = [];
  for await (const part of parts) read.push(part);
  return read;
}

describe("Mailbox", () => {
  it("keeps a message that breaks the contract out of the stream, which it would end", async () => {
    const refused = { kind: "invalid", reason: "REQUEST_INVALID" };
    await expect(mailbox.messenger().send("", "s", 1)).rejects.toMatchObject(refused);
    await expect(mailbox.messenger().request("x".repeat(129), "s", 1)).rejects.toMatchObject(
      refused,
    );
    await expect(mailbox.messenger().request("b", "s".repeat(129), 1)).rejects.toMatchObject(
      refused,
    );
    for (const timeoutMs of [0, Number.NaN, 600_001]) {
      await expect(mailbox.messenger().send("b", "s", 1, { timeoutMs })).rejects.toMatchObject(
        refused,
      );
    }
    const body = new RawPayload("t".repeat(129), new Uint8Array());
    await expect(mailbox.messenger().request("b", "s", body)).rejects.toMatchObject(refused);
    expect(await waiting()).toEqual([]);
  });

  it("gives up what has no word a little after its time, and nothing else", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    try {
      const own = new Mailbox({ outbox: new Outbox(), logger });
      const reasons: string[] = [];
      for (const timeoutMs of [100, 60_000]) {
        own
          .messenger()
          .send("b", "s", 1, { timeoutMs })
          .catch((error: unknown) => reasons.push(NexusError.from(error).reason));
      }
      await vi.advanceTimersByTimeAsync(1_000);
      expect(reasons).toEqual([]);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(reasons).toEqual(["MESSAGE_EXPIRED"]);
      await vi.advanceTimersByTimeAsync(60_000);
      expect(reasons).toEqual(["MESSAGE_EXPIRED", "MESSAGE_EXPIRED"]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("tells whoever asked that a handler failed, or that there is none", async () => {
    mailbox.connected({ held: false, continued: false });
    mailbox.on("bad", () => {
      throw new Error("a secret");
    });
    mailbox.on("worse", () =>
      Promise.reject(new TaskError({ reason: "BROKEN", message: "It is broken." })),
    );
    const ask = (subject: string, expectsReply = true): void =>
      mailbox.deliver(create(DeliverySchema, { deliveryId: subject, subject, expectsReply }));
    for (const subject of ["bad", "worse", "unknown"]) ask(subject);
    ask("bad", false);
    await new Promise(setImmediate);
    const said = (await waiting()).flatMap(({ acks }) => acks ?? []);
    const noes = said.filter(({ kind }) => kind === AckKind.REJECT);
    const told = noes.map(
      ({ deliveryId, ...why }) => `${deliveryId}: ${why.reason} ${why.message}`,
    );
    expect(told.sort()).toEqual(["bad:  ", "unknown: NO_HANDLER ", "worse: BROKEN It is broken."]);
  });

  it("refuses a name that is taken, and leaves the message that has it", async () => {
    const own = new Mailbox({ outbox: new Outbox(), logger });
    const { send, requestStream } = own.messenger();
    const options = { messageId: "same" };
    const first = send("b", "s", 1, options);
    const inUse = expect.objectContaining({ kind: "conflict", reason: "MESSAGE_ID_IN_USE" });
    await expect(send("b", "s", 2, options)).rejects.toEqual(inUse);
    await expect(readAll(requestStream("b", "s", 3, options))).rejects.toEqual(inUse);
    own.close(new NexusError({ kind: "cancelled", reason: "CANCELLED", message: "over" }));
    await expect(first).rejects.toMatchObject({ message: "over" });
  });

  it("fails everything with what ended it, now and later", async () => {
    const own = new Outbox();
    const closing = new Mailbox({ outbox: own, logger });
    const unanswered = closing.messenger().request("b", "s", 1);
    const message = "Another process took the session over.";
    const error = new NexusError({ kind: "conflict", reason: "SESSION_SUPERSEDED", message });
    closing.close(error);
    await expect(unanswered).rejects.toBe(error);
    await expect(closing.messenger().send("b", "s", 1)).rejects.toBe(error);
  });
});

describe("message credit", () => {
  const delivery = (subject: string, inReplyTo = "") =>
    create(DeliverySchema, { deliveryId: "d", fromPrincipalId: "a", subject, inReplyTo });

  /** Lets handlers that are done be seen as done. */
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  async function granted(): Promise<number> {
    await settled();
    const frames = await waiting();
    return frames.reduce((sum, frame) => sum + (frame.credit?.messages ?? 0), 0);
  }

  it("comes back when the handler is done, not when the message arrives", async () => {
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    mailbox.on("slow", () => gate);
    for (let index = 0; index < MESSAGE_CREDIT; index += 1) mailbox.deliver(delivery("slow"));
    expect(await granted()).toBe(0);
    finish();
    expect(await granted()).toBeGreaterThanOrEqual(MESSAGE_CREDIT / 2);
  });

  it("comes back for failing handlers, unknown subjects and replies alike", async () => {
    mailbox.on("bad", () => {
      throw new Error("no");
    });
    const third = Math.ceil(MESSAGE_CREDIT / 3);
    for (let index = 0; index < third; index += 1) {
      mailbox.deliver(delivery("bad"));
      mailbox.deliver(delivery("nobody handles this"));
      mailbox.deliver(delivery("", "msg_gone"));
    }
    expect(await granted()).toBeGreaterThanOrEqual(MESSAGE_CREDIT / 2);
  });

  it("is not granted for handlers of an older stream", async () => {
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    mailbox.on("old", () => gate);
    for (let index = 0; index < MESSAGE_CREDIT; index += 1) mailbox.deliver(delivery("old"));
    outbox.reset();
    mailbox.connectionLost(false);
    finish();
    expect(await granted()).toBe(0);
  });
});

describe("RunningContext", () => {
  it("takes a progress that is no number for a sign of life", async () => {
    const assignment = create(AssignmentSchema, { taskId: "t", fence: 1n });
    const tools: TaskTools = {
      say: (from, update) => outbox.update(update, from),
      mailbox,
      readSecret: () => Promise.reject(new Error("there are no secrets here")),
      stateOf: () => {
        throw new Error("there is no state here");
      },
      logger,
    };
    const lease = new Lease(assignment, Number.POSITIVE_INFINITY);
    const ctx = new RunningContext(tools, lease, assignment, "work@1.0.0");
    ctx.progress(Number.NaN, "counting");
    const [frame] = await waiting();
    expect(frame?.taskUpdates?.[0]?.update).toEqual({
      case: "progress",
      value: { progress: 0, message: "counting" },
    });
  });
});
