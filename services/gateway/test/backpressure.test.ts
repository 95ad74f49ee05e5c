import { AgentSessionService } from "@nexus/proto/mesh";
import { JobService } from "@nexus/proto/orchestrator";
import { type RawRelay, rawStream } from "@nexus/rpc";
import { createAsyncQueue } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { complete, type GatewayRig, Rigs } from "./_helpers.ts";

const CONNECT = AgentSessionService.method.connect;
const TEXT = "x".repeat(64 * 1_024);
const FRAME = Buffer.alloc(64 * 1_024, 1);
/** What may be under way between two ends that do not read: flow-control windows and write buffers of two hops. */
const UNDER_WAY_FRAMES_MAX = 120;
const FLOOD_FRAMES = 20_000;
/** A count that stood still for so long is taken to have stopped. */
const STILL_MS = 400;
const rigs = new Rigs();

afterEach(() => rigs.close());

function start(relay: RawRelay): Promise<GatewayRig> {
  return rigs.start({
    upstreams: { "mesh-router": (server) => server.addRaw(AgentSessionService, relay) },
  });
}

/** Yields frames as fast as they are taken and counts them. */
function createFlood() {
  let sent = 0;
  let stillSince = performance.now();
  async function* frames() {
    while (sent < FLOOD_FRAMES) {
      sent += 1;
      stillSince = performance.now();
      yield FRAME;
    }
  }
  return {
    frames,
    get sent() {
      return sent;
    },
    stopped: () =>
      waitFor(() => sent > 0 && performance.now() - stillSince > STILL_MS, {
        what: "the flood to stop",
        timeoutMs: 30_000,
      }),
  };
}

describe("the gateway between a fast and a slow end", () => {
  it("stops an owner that sends to an agent which does not read, and keeps others going", async () => {
    const flood = createFlood();
    const rig = await start((call) =>
      call.ctx.principal?.principalId === "slow"
        ? flood.frames()
        : (call.requests as AsyncIterable<Buffer>),
    );
    const slow = rawStream(rig.channel, CONNECT, createAsyncQueue<Buffer>({ max: 1 }), {
      token: await rig.agentToken("slow"),
    });
    await slow.next();
    await flood.stopped();
    const stoppedAt = flood.sent;
    expect(stoppedAt).toBeLessThan(UNDER_WAY_FRAMES_MAX);

    const requests = createAsyncQueue<Buffer>({ max: 1 });
    const lively = rawStream(rig.channel, CONNECT, requests, { token: await rig.agentToken("b") });
    for (let round = 0; round < 20; round += 1) {
      requests.push(Buffer.from(`${round}`));
      expect(String((await lively.next()).value)).toBe(`${round}`);
    }

    expect(flood.sent).toBe(stoppedAt);
    for (let read = 0; read < 200; read += 1) await slow.next();
    expect(flood.sent).toBeGreaterThan(stoppedAt);
    await slow.return?.();
  });

  it("stops an agent that sends to an owner which does not read", async () => {
    const flood = createFlood();
    const rig = await start(async function* () {
      yield Buffer.from("open");
      await new Promise(() => undefined);
    } as RawRelay);
    const options = { token: await rig.agentToken("fast") };
    const responses = rawStream(rig.channel, CONNECT, flood.frames(), options);
    await responses.next();
    await flood.stopped();
    expect(flood.sent).toBeLessThan(UNDER_WAY_FRAMES_MAX);
    await responses.return?.();
  });

  it("stops an owner that sends to an HTTP caller which does not read", async () => {
    const flood = createFlood();
    const answer = {
      events: [{ event: { case: "jobChanged", value: { failure: { message: TEXT } } } }],
    };
    const rig = await rigs.start({
      upstreams: {
        orchestrator: (server) =>
          server.add(
            JobService,
            complete(JobService, {
              async *watchJob() {
                for await (const _ of flood.frames()) yield answer as never;
              },
            }),
          ),
      },
    });
    const leaving = new AbortController();
    const response = await fetch(`${rig.http}/nexus.orchestrator.v1.JobService/WatchJob`, {
      method: "POST",
      signal: leaving.signal,
      headers: {
        authorization: `Bearer ${await rig.token()}`,
        "content-type": "application/connect+proto",
      },
      body: new Uint8Array([0, 0, 0, 0, 3, 10, 1, 106]),
    });
    expect(response.status).toBe(200);
    await flood.stopped();
    expect(flood.sent).toBeLessThan(UNDER_WAY_FRAMES_MAX);
    leaving.abort();
  });

  it("holds little memory for many agents that do not read", async () => {
    const floods = Array.from({ length: 20 }, createFlood);
    const rig = await start((call) => {
      const index = Number(call.ctx.principal?.principalId.slice("slow-".length));
      return (floods[index] as ReturnType<typeof createFlood>).frames();
    });
    const streams = await Promise.all(
      floods.map(async (_, index) => {
        const token = await rig.agentToken(`slow-${index}`);
        return rawStream(rig.channel, CONNECT, createAsyncQueue<Buffer>({ max: 1 }), { token });
      }),
    );
    await Promise.all(floods.map(({ stopped }) => stopped()));
    for (const { sent } of floods) expect(sent).toBeLessThan(UNDER_WAY_FRAMES_MAX);
    for (const stream of streams) await stream.return?.();
  });
});
