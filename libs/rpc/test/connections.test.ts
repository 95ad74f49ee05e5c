import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { JobService } from "@nexus/proto/orchestrator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRpcChannel, createRpcClient, type RpcChannel } from "../src/index.ts";
import { jobHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";
import { until } from "./_wait.ts";

/** Streams that the server lets one connection have. */
const STREAMS_MAX = 3;
const JOB_ID = "job_0198a0000000700080000000000000aa";

let rig: Rig;
let address = "";
const sockets = new Set<Socket>();
/** What is connected is silenced by it: nothing gets through, and nobody is told. */
const silencers = new Set<() => void>();
/** Calls that the server has open. */
let watches = 0;
/** New connections are accepted, and nothing comes of them. */
let isDeaf = false;
/** Counts the connections on their way to the server. */
const counter = createServer((near) => {
  if (isDeaf) {
    near.on("error", () => undefined).resume();
    sockets.add(near);
    near.on("close", () => sockets.delete(near));
    return;
  }
  const far = connect(Number(rig.address.split(":")[1]), "127.0.0.1");
  for (const socket of [near, far]) socket.on("error", () => undefined);
  near.pipe(far).pipe(near);
  sockets.add(near);
  const silence = () => {
    for (const socket of [near, far]) socket.unpipe().pause();
  };
  silencers.add(silence);
  near.on("close", () => {
    sockets.delete(near);
    silencers.delete(silence);
  });
});

beforeAll(async () => {
  const handlers = jobHandlers({
    getJob: async () => ({}),
    async *watchJob(_request, ctx) {
      watches += 1;
      yield {};
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      watches -= 1;
    },
  });
  rig = await startRig((server) => server.add(JobService, handlers), {
    limits: { maxConcurrentStreams: STREAMS_MAX, silentMaxMs: 1_000 },
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

describe("a connection that went silent", () => {
  it("is given up by both of its ends", async () => {
    const channel = createRpcChannel({ address, silentMaxMs: 1_000 });
    const token = rig.verifier.token("ann");
    const jobs = createRpcClient(JobService, channel);
    const before = watches;
    const answers = jobs.watchJob({ jobId: JOB_ID }, { token })[Symbol.asyncIterator]();
    await answers.next();
    expect(watches).toBe(before + 1);
    for (const silence of silencers) silence();
    await expect(answers.next()).rejects.toMatchObject({ kind: "unavailable" });
    await until("the server to let go", () => watches === before);
    const again = jobs.watchJob({ jobId: JOB_ID }, { token });
    const { done } = await again[Symbol.asyncIterator]().next();
    expect(done).toBe(false);
    channel.close();
  });
});

describe("a connection that was accepted and forgotten", () => {
  it("is given up, and the next one carries the calls that waited", async () => {
    isDeaf = true;
    const before = [...sockets];
    const channel = createRpcChannel({ address, silentMaxMs: 500 });
    const jobs = createRpcClient(JobService, channel);
    const call = jobs.getJob({ jobId: JOB_ID }, { token: rig.verifier.token("ann") });
    const outcome = call.catch((error: unknown) => error);
    const accepted = () => [...sockets].find((socket) => !before.includes(socket));
    await until("a connection", () => accepted() !== undefined);
    isDeaf = false;
    await once(accepted() as Socket, "close");
    await outcome;
    await jobs.getJob({ jobId: JOB_ID }, { token: rig.verifier.token("ann") });
    channel.close();
  });
});
