import { connect, createServer, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { JobService } from "@nexus/proto/orchestrator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRpcChannel, createRpcClient, type RpcChannel } from "../src/index.ts";
import { jobHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";

/** Streams that the server lets one connection have. */
const STREAMS_MAX = 3;
const JOB_ID = "job_0198a0000000700080000000000000aa";

let rig: Rig;
let address = "";
const sockets = new Set<Socket>();
/** Counts the connections on their way to the server. */
const counter = createServer((near) => {
  const far = connect(Number(rig.address.split(":")[1]), "127.0.0.1");
  for (const socket of [near, far]) socket.on("error", () => undefined);
  near.pipe(far).pipe(near);
  sockets.add(near);
  near.on("close", () => sockets.delete(near));
});

beforeAll(async () => {
  const handlers = jobHandlers({
    getJob: async () => ({}),
    async *watchJob(_request, ctx) {
      yield {};
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    },
  });
  rig = await startRig((server) => server.add(JobService, handlers), {
    limits: { maxConcurrentStreams: STREAMS_MAX },
  });
  await new Promise<void>((resolve) => {
    counter.listen(0, "127.0.0.1", resolve);
  });
  address = `127.0.0.1:${(counter.address() as { port: number }).port}`;
});
afterAll(async () => {
  counter.close();
  await rig.close();
});

describe("a channel", () => {
  it.each([
    [undefined, 1],
    [3, 3],
  ])("of %s connections carries calls over %i, and closes all", async (connections, expected) => {
    const channel = createRpcChannel({
      address,
      ...(connections === undefined ? {} : { connections }),
    });
    const token = rig.verifier.token("ann");
    const jobs = createRpcClient(JobService, channel);
    for (let i = 0; i < 7; i += 1) await jobs.getJob({ jobId: JOB_ID }, { token });
    expect(sockets.size).toBe(expected);
    const closed = [...sockets].map(
      (socket) => new Promise((resolve) => socket.once("close", resolve)),
    );
    channel.close();
    await Promise.all(closed);
    expect(sockets.size).toBe(0);
  });

  it("cancels the streams of who has closed it, and of nobody else", async () => {
    const channel = createRpcChannel({ address });
    const closing = new AbortController();
    const { transport, placeStream, close } = channel;
    const one: RpcChannel = { address, transport, placeStream, close, closed: closing.signal };
    const token = rig.verifier.token("ann");
    const stop = new AbortController();
    const [mine, other] = [one, channel].map((through) => {
      const jobs = createRpcClient(JobService, through);
      const answers = jobs.watchJob({ jobId: JOB_ID }, { token, signal: stop.signal });
      return answers[Symbol.asyncIterator]();
    });
    await Promise.all([mine?.next(), other?.next()]);
    closing.abort();
    await expect(mine?.next()).rejects.toMatchObject({ kind: "cancelled" });
    const open = other?.next();
    expect(await Promise.race([open, setImmediate("open")])).toBe("open");
    stop.abort();
    await expect(open).rejects.toMatchObject({ kind: "cancelled" });
    channel.close();
  });

  it("opens another connection for streams that have no place, and leaves room for calls", async () => {
    const channel = createRpcChannel({ address, streamsPerConnection: STREAMS_MAX - 1 });
    const jobs = createRpcClient(JobService, channel);
    const token = rig.verifier.token("ann");
    const watch = async () => {
      const stop = new AbortController();
      const answers = jobs.watchJob({ jobId: JOB_ID }, { token, signal: stop.signal });
      const iterator = answers[Symbol.asyncIterator]();
      expect((await iterator.next()).done).toBe(false);
      return async () => {
        stop.abort();
        await expect(iterator.next()).rejects.toMatchObject({ kind: "cancelled" });
      };
    };
    const open = [await watch(), await watch(), await watch()];
    await jobs.getJob({ jobId: JOB_ID }, { token });
    expect(sockets.size).toBe(2);
    await open.shift()?.();
    open.push(await watch(), await watch());
    expect(sockets.size).toBe(2);
    open.push(await watch());
    expect(sockets.size).toBe(3);
    const closed = [...sockets].map(
      (socket) => new Promise((resolve) => socket.once("close", resolve)),
    );
    for (const leave of open) await leave();
    channel.close();
    await Promise.all(closed);
  });
});
