import { describe, expect, it } from "vitest";
import {
  CHUNK_BYTES_WAITING_MAX,
  type Frame,
  Outbox,
  type Speaker,
  type UpdateInit,
} from "./outbox.ts";

/** An outbox, and who says words about the leases of tasks. */
function openOutbox() {
  const outbox = new Outbox();
  const leases = new Map<string | undefined, Speaker>();
  const say = (update: UpdateInit): void => {
    const lease = leases.get(update.taskId) ?? { waiting: undefined };
    leases.set(update.taskId, lease);
    outbox.update(update, lease);
  };
  return { outbox, say };
}

const HELLO: Frame = { hello: { agentId: "a" } };

function accepted(index: number) {
  return {
    taskId: `t${index}`,
    fence: BigInt(index + 1),
    update: { case: "accepted" as const, value: {} },
  };
}

function completed(index: number, bytes: number) {
  const output = { data: new Uint8Array(bytes) };
  return {
    taskId: `t${index}`,
    fence: BigInt(index + 1),
    update: { case: "completed" as const, value: { output } },
  };
}

async function all(frames: AsyncIterable<Frame>): Promise<Frame[]> {
  const list: Frame[] = [];
  for await (const frame of frames) list.push(frame);
  return list;
}

describe("Outbox", () => {
  it("sends the first frame alone, then everything that waits as one", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    say(accepted(0));
    outbox.send({ messageId: "m" });
    outbox.heartbeat(() => ({ busySlots: 1 }));
    outbox.close();
    const [first, second, ...rest] = await all(frames);
    expect(first).toEqual(HELLO);
    expect(second?.taskUpdates).toHaveLength(1);
    expect(second?.sends).toHaveLength(1);
    expect(second?.heartbeat).toEqual({ busySlots: 1 });
    expect(rest).toEqual([]);
  });

  it("tells the load of when a frame leaves, not of when it was asked for", async () => {
    const outbox = new Outbox();
    const frames = outbox.frames(HELLO);
    let busySlots = 2;
    outbox.heartbeat(() => ({ busySlots }));
    busySlots = 0;
    outbox.close();
    const [, second] = await all(frames);
    expect(second?.heartbeat).toEqual({ busySlots: 0 });
  });

  it("cuts frames at 256 items and keeps the order", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    for (let index = 0; index < 650; index += 1) say(accepted(index));
    outbox.close();
    const [, ...sent] = await all(frames);
    expect(sent.map((frame) => frame.taskUpdates?.length)).toEqual([256, 256, 138]);
    const ids = sent.flatMap((frame) => frame.taskUpdates?.map((update) => update.taskId));
    expect(ids).toEqual(Array.from({ length: 650 }, (_, index) => `t${index}`));
  });

  it("cuts frames by bytes, so that large outputs never exceed a message", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    for (let index = 0; index < 9; index += 1) say(completed(index, 262_144));
    outbox.close();
    const [, ...sent] = await all(frames);
    expect(sent.map((frame) => frame.taskUpdates?.length)).toEqual([3, 3, 3]);
  });

  it("says only the end of a task whose beginning still waits", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    say(accepted(0));
    say(accepted(1));
    say(completed(0, 1));
    outbox.close();
    const [, frame] = await all(frames);
    expect(frame?.taskUpdates).toEqual([completed(0, 1), accepted(1)]);
  });

  it("keeps beginning, progress, chunks and end in order when there is something between", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    const word = { taskId: "t0", fence: 1n };
    const progress = { case: "progress" as const, value: { progress: 0.5 } };
    say(accepted(0));
    say({ ...word, update: progress });
    say(completed(0, 1));
    const chunk = { case: "chunk" as const, value: { sequence: 1n, data: new Uint8Array(3) } };
    say(accepted(1));
    say({ taskId: "t1", fence: 2n, update: chunk });
    say(completed(1, 1));
    outbox.close();
    const [, frame] = await all(frames);
    const said = frame?.taskUpdates?.map(({ taskId, update }) => `${taskId} ${update?.case}`);
    expect(said).toEqual([
      "t0 accepted",
      "t0 progress",
      "t0 completed",
      "t1 accepted",
      "t1 chunk",
      "t1 completed",
    ]);
  });

  it("sends what one turn of the event loop says as one frame", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    await frames.next();
    const next = frames.next();
    say(accepted(0));
    await Promise.resolve();
    say(completed(0, 1));
    say(accepted(1));
    expect((await next).value.taskUpdates).toEqual([completed(0, 1), accepted(1)]);
    await frames.return(undefined);
  });

  it("adds up message credit and lets the latest slots win", async () => {
    const outbox = new Outbox();
    const frames = outbox.frames(HELLO);
    outbox.credit({ messages: 10 });
    outbox.credit({ slots: 3 });
    outbox.credit({ messages: 5, slots: 0 });
    outbox.close();
    const [, frame] = await all(frames);
    expect(frame?.credit).toEqual({ messages: 15, slots: 0 });
  });

  it("says goodbye with the last items, never before them", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    outbox.goodbye("done");
    for (let index = 0; index < 300; index += 1) say(accepted(index));
    outbox.close();
    const [, first, last] = await all(frames);
    expect(first?.goodbye).toBeUndefined();
    expect(last).toMatchObject({ goodbye: { reason: "done" } });
  });

  it("ends the stream and forgets what waits when it is reset", async () => {
    const { outbox, say } = openOutbox();
    const frames = all(outbox.frames(HELLO));
    outbox.reset();
    expect(await frames).toEqual([HELLO]);
    say(accepted(0));
    outbox.reset();
    const next = outbox.frames(HELLO);
    outbox.close();
    expect(await all(next)).toEqual([HELLO]);
  });

  it("never gives an older stream what a newer one should say", async () => {
    const { outbox, say } = openOutbox();
    const older = all(outbox.frames(HELLO));
    await Promise.resolve();
    const newer = outbox.frames({ hello: { agentId: "b" } });
    const first = await newer.next();
    say(accepted(1));
    outbox.close();
    const rest = await all(newer);
    expect(await older).toEqual([HELLO]);
    expect(first.value).toEqual({ hello: { agentId: "b" } });
    expect(rest).toHaveLength(1);
  });

  it("refuses chunks beyond its limit until the stream took some", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    const data = new Uint8Array(65_536);
    let sequence = 0n;
    const chunk = () => {
      const value = { sequence: sequence + 1n, data };
      say({ taskId: "t", fence: 1n, update: { case: "chunk", value } });
      sequence += 1n;
    };
    const fill = () => {
      for (;;) chunk();
    };
    expect(fill).toThrow(expect.objectContaining({ kind: "exhausted", reason: "QUEUE_FULL" }));
    expect(Number(sequence) * data.byteLength).toBeLessThanOrEqual(CHUNK_BYTES_WAITING_MAX);
    await frames.next();
    await frames.next();
    const before = sequence;
    expect(fill).toThrow(/wait to be sent/);
    expect(sequence).toBeGreaterThan(before);
    outbox.reset();
    expect(chunk).not.toThrow();
  });

  it("holds one word of a kind per lease, the latest, however often it is said", async () => {
    const { outbox, say } = openOutbox();
    const frames = outbox.frames(HELLO);
    const end = completed(1, 10);
    for (let index = 1; index <= 100; index += 1) {
      const value = { progress: index / 100 };
      say({ taskId: "t1", fence: 2n, update: { case: "progress", value } });
      say(end);
    }
    outbox.close();
    const [, frame] = await all(frames);
    expect(frame?.taskUpdates).toHaveLength(2);
    expect(frame?.taskUpdates?.[0]?.update).toMatchObject({ value: { progress: 1 } });
    expect(end.update.value.output.data.byteLength).toBe(10);
  });
});
