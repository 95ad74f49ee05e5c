import { create } from "@bufbuild/protobuf";
import { AssignmentSchema } from "@nexus/proto/mesh";
import { createSilentLogger } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { RawPayload } from "../payload.ts";
import { Mailbox } from "./mailbox.ts";
import { type Frame, Outbox } from "./outbox.ts";
import { createTaskContext } from "./running-context.ts";

const logger = createSilentLogger();
const outbox = new Outbox();
const mailbox = new Mailbox({ outbox, logger });
afterEach(() => {
  outbox.reset();
  mailbox.connectionLost();
});

/** What would go out now, after the first frame. */
async function waiting(): Promise<Frame[]> {
  const frames: Frame[] = [];
  const stream = outbox.frames({});
  outbox.close();
  for await (const frame of stream) frames.push(frame);
  return frames.slice(1);
}

describe("Mailbox", () => {
  it("keeps a message that breaks the contract out of the stream, which it would end", async () => {
    const refused = { kind: "invalid", reason: "REQUEST_INVALID" };
    await expect(mailbox.send("", "s", 1)).rejects.toMatchObject(refused);
    await expect(mailbox.request("x".repeat(129), "s", 1)).rejects.toMatchObject(refused);
    await expect(mailbox.request("b", "s".repeat(129), 1)).rejects.toMatchObject(refused);
    for (const timeoutMs of [0, Number.NaN, 600_001]) {
      await expect(mailbox.send("b", "s", 1, { timeoutMs })).rejects.toMatchObject(refused);
    }
    const body = new RawPayload("t".repeat(129), new Uint8Array());
    await expect(mailbox.request("b", "s", body)).rejects.toMatchObject(refused);
    expect(await waiting()).toEqual([]);
  });
});

describe("createTaskContext", () => {
  it("takes a progress that is no number for a sign of life", async () => {
    const assignment = create(AssignmentSchema, { taskId: "t", fence: 1n });
    const { signal } = new AbortController();
    const ctx = createTaskContext({
      assignment,
      signal,
      timeoutMs: 1_000,
      outbox,
      mailbox,
      logger,
    });
    ctx.progress(Number.NaN, "counting");
    const [frame] = await waiting();
    expect(frame?.taskUpdates?.[0]?.update).toEqual({
      case: "progress",
      value: { progress: 0, message: "counting" },
    });
  });
});
