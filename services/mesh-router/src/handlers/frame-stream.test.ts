import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { FrameStream, followCall } from "./frame-stream.ts";
import { TurnScheduler } from "./turn-scheduler.ts";

const error = (reason: string) =>
  new NexusError({ kind: "unavailable", reason, message: "It ends." });

function streamOver(queue: string[]) {
  let fails = 0;
  const stream = new FrameStream<string>(new TurnScheduler(), () => {
    fails += 1;
  });
  const take = () => (queue.length === 0 ? undefined : queue.splice(0).join("+"));
  return { stream, next: () => stream.next(take), fails: () => fails };
}

describe("FrameStream", () => {
  it("joins what is queued in one turn of the event loop into one frame", async () => {
    const queue: string[] = [];
    const { stream, next } = streamOver(queue);
    const frame = next();
    for (const item of ["a", "b", "c"]) {
      queue.push(item);
      stream.wake();
    }
    expect(await frame).toBe("a+b+c");
  });

  it("gives at once what waits already", async () => {
    const { next } = streamOver(["a"]);
    expect(await next()).toBe("a");
  });

  it("writes what waits before it finishes", async () => {
    const queue = ["a"];
    const { stream, next } = streamOver(queue);
    stream.finish();
    expect([await next(), await next()]).toEqual(["a", undefined]);
    expect(stream.ending).toBe(true);
  });

  it("fails once, at once, whether somebody waits or not", async () => {
    const { stream, next, fails } = streamOver([]);
    const waiting = next();
    stream.fail(error("FIRST"));
    stream.fail(error("SECOND"));
    await expect(waiting).rejects.toMatchObject({ reason: "FIRST" });
    await expect(next()).rejects.toMatchObject({ reason: "FIRST" });
    expect(fails()).toBe(1);
  });

  it("fails when the frame cannot be made", async () => {
    const stream = new FrameStream<string>(new TurnScheduler(), () => undefined);
    let broken = false;
    const frame = stream.next(() => {
      if (broken) throw new Error("no");
      return undefined;
    });
    broken = true;
    stream.wake();
    await expect(frame).rejects.toMatchObject({ kind: "internal" });
  });
});

describe("followCall", () => {
  it("lets a draining server write the rest, and ends on everything else", async () => {
    const draining = new AbortController();
    const gentle = streamOver(["rest"]);
    followCall(draining.signal, gentle.stream);
    draining.abort(error("SERVER_DRAINING"));
    expect([await gentle.next(), await gentle.next()]).toEqual(["rest", undefined]);
    const hard = streamOver(["rest"]);
    followCall(AbortSignal.abort(error("TOKEN_REVOKED")), hard.stream);
    await expect(hard.next()).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
  });

  it("stops following when told", async () => {
    const call = new AbortController();
    const { stream, next } = streamOver(["a"]);
    followCall(call.signal, stream)();
    call.abort(error("TOKEN_REVOKED"));
    expect(await next()).toBe("a");
  });
});
