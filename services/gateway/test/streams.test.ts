import { AgentSessionService } from "@nexus/proto/mesh";
import { JobService } from "@nexus/proto/orchestrator";
import {
  createRpcChannel,
  createRpcClient,
  type RawCall,
  type RawRelay,
  rawStream,
} from "@nexus/rpc";
import { createAsyncQueue } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { complete, drainAll, failureOf, type RigOptions, Rigs } from "./_helpers.ts";
import { startProxy } from "./_proxy.ts";

const CONNECT = AgentSessionService.method.connect;
const GREETING = Buffer.from("greeting");
const rigs = new Rigs();

afterEach(() => rigs.close());

/** A mesh-router that greets each session and sends its frames back; `calls` are the sessions it saw. */
async function startSessions(options: RigOptions = {}) {
  const calls: RawCall[] = [];
  const relay: RawRelay = (call) => {
    calls.push(call);
    return echo(call.requests as AsyncIterable<Buffer>);
  };
  const rig = await rigs.start({
    ...options,
    upstreams: { "mesh-router": (server) => server.addRaw(AgentSessionService, relay) },
  });
  return { rig, calls };
}

async function* echo(requests: AsyncIterable<Buffer>) {
  yield GREETING;
  yield* requests;
}

/** Opens a session through a channel and reads its greeting. */
async function openSession(channel: ReturnType<typeof createRpcChannel>, token: string) {
  const requests = createAsyncQueue<Buffer>({ max: 16 });
  const responses = rawStream(channel, CONNECT, requests, { token });
  expect((await responses.next()).value).toEqual(GREETING);
  return { requests, responses };
}

describe("a stream through the gateway", () => {
  it("carries frames both ways, byte for byte, until the caller ends it", async () => {
    const { rig } = await startSessions();
    const { requests, responses } = await openSession(rig.channel, await rig.agentToken("a"));
    const frames = [Buffer.from("one"), Buffer.alloc(200_000, 7), Buffer.alloc(0)];
    for (const frame of frames) requests.push(frame);
    requests.end();
    const { items, error } = await drainAll(responses);
    expect(error).toBeUndefined();
    expect(items).toEqual(frames);
  });

  it("ends for the owner when the caller cancels", async () => {
    const { rig, calls } = await startSessions();
    const { responses } = await openSession(rig.channel, await rig.agentToken("a"));
    await responses.return?.();
    await waitFor(() => calls[0]?.ctx.signal.aborted, { what: "the owner to hear of it" });
  });

  it("ends for the owner at once when the caller's connection breaks", async () => {
    const { rig, calls } = await startSessions();
    const proxy = rigs.keep(await startProxy(rig.gateway.address));
    const channel = createRpcChannel({ address: proxy.address });
    const { responses } = await openSession(channel, await rig.agentToken("a"));
    const brokenAtMs = Date.now();
    proxy.cut();
    await waitFor(() => calls[0]?.ctx.signal.aborted, { what: "the owner to hear of it" });
    expect(Date.now() - brokenAtMs).toBeLessThan(2_000);
    expect((await drainAll(responses)).error).toMatchObject({ kind: "unavailable" });
    channel.close();
    await waitFor(
      async () =>
        (await rig.metrics('nexus_gateway_open_streams{upstream="mesh-router"}'))[0]?.endsWith(
          " 0",
        ),
      { what: "the gateway to forget the stream" },
    );
  });

  it("is UNAVAILABLE, with details, when its owner dies", async () => {
    let proxy: Awaited<ReturnType<typeof startProxy>> | undefined;
    const { rig } = await startSessions({
      through: async (_upstream, address) => {
        proxy = rigs.keep(await startProxy(address));
        return proxy.address;
      },
    });
    const { responses } = await openSession(rig.channel, await rig.agentToken("a"));
    proxy?.cut();
    const { error } = await drainAll(responses);
    expect(error).toMatchObject({ kind: "unavailable", reason: "UNAVAILABLE" });
    expect(error?.details.metadata).toEqual({ upstream: "mesh-router" });
  });

  it("brings the owner's own end: its drain, with its words", async () => {
    const { rig } = await startSessions();
    const { responses } = await openSession(rig.channel, await rig.agentToken("a"));
    const closing = rig.upstreams.get("mesh-router")?.server.close(1_000);
    expect((await drainAll(responses)).error).toMatchObject({
      kind: "unavailable",
      reason: "SERVER_DRAINING",
    });
    await closing;
  });

  it("ends with the gateway's own drain, in order", async () => {
    const { rig } = await startSessions();
    const { responses } = await openSession(rig.channel, await rig.agentToken("a"));
    const closing = rig.gateway[Symbol.asyncDispose]();
    expect((await drainAll(responses)).error).toMatchObject({
      kind: "unavailable",
      reason: "SERVER_DRAINING",
    });
    await closing;
  });

  it("is ended by its owner, not by the gateway, when its token is revoked", async () => {
    const { rig } = await startSessions();
    const token = await rig.agentToken("a");
    const { responses } = await openSession(rig.channel, token);
    rig.identity.revoke(token);
    expect((await drainAll(responses)).error).toMatchObject({
      kind: "unauthenticated",
      reason: "TOKEN_REVOKED",
    });
  });

  it("lives on when the owner has taken a newer token for it", async () => {
    const fresh: string[] = [];
    const rig = await rigs.start({
      upstreams: {
        "mesh-router": (server) =>
          server.add(
            AgentSessionService,
            complete(AgentSessionService, {
              async *connect(requests, ctx) {
                yield { welcome: { sessionId: "first" } };
                for await (const { reauth } of requests) {
                  if (reauth !== undefined) await ctx.reauthenticate(reauth.accessToken);
                  yield { welcome: { sessionId: ctx.token === fresh[0] ? "fresh" : "old" } };
                }
              },
            }),
          ),
      },
    });
    const old = await rig.agentToken("a");
    fresh.push(await rig.agentToken("a"));
    const requests = createAsyncQueue<object>({ max: 8 });
    const client = createRpcClient(AgentSessionService, rig.channel);
    const responses = client.connect(requests, { token: old })[Symbol.asyncIterator]();
    await responses.next();
    requests.push({ reauth: { accessToken: fresh[0] } });
    expect((await responses.next()).value?.welcome?.sessionId).toBe("fresh");
    rig.identity.revoke(old);
    requests.push({});
    expect((await responses.next()).value?.welcome?.sessionId).toBe("fresh");
  });

  it("is refused before it begins, like any call", async () => {
    const { rig, calls } = await startSessions();
    const requests = createAsyncQueue<Buffer>({ max: 1 });
    const stream = rawStream(rig.channel, CONNECT, requests, { token: "forged" });
    expect(await failureOf(stream.next())).toMatchObject({ reason: "TOKEN_INVALID" });
    expect(calls).toEqual([]);
  });
});

describe("a watch through the gateway", () => {
  it("brings every message and the end", async () => {
    const rig = await rigs.start({
      upstreams: {
        orchestrator: (server) =>
          server.add(
            JobService,
            complete(JobService, {
              async *watchJob({ afterSequence }) {
                for (let at = 1n; at <= 50n; at += 1n) {
                  yield { events: [{ sequence: afterSequence + at }] };
                }
              },
            }),
          ),
      },
    });
    const request = { jobId: "j", afterSequence: 100n };
    const watch = rig.client(JobService).watchJob(request, { token: await rig.token() });
    const { items } = await drainAll(watch);
    const sequences = items.flatMap(({ events }) => events.map(({ sequence }) => sequence));
    expect([sequences.length, sequences[0], sequences.at(-1)]).toEqual([50, 101n, 150n]);
  });
});
