import { AgentSessionService } from "@nexus/proto/mesh";
import { MAX_MESSAGE_BYTES, type RpcChannel, rawStream } from "@nexus/rpc";
import { createAsyncQueue } from "@nexus/shared";
import { afterAll, describe, expect, it } from "vitest";
import { failureOf, type GatewayRig, Rigs } from "./_helpers.ts";

const CONNECT = AgentSessionService.method.connect;
const SESSIONS = 1_500;
const CONNECTIONS = 3;
const rigs = new Rigs();

afterAll(() => rigs.close());

async function* echo(requests: AsyncIterable<Buffer>) {
  yield* requests;
}

function startSessions(): Promise<GatewayRig> {
  return rigs.start({
    upstreams: {
      "mesh-router": (server) =>
        server.addRaw(AgentSessionService, (call) => echo(call.requests as AsyncIterable<Buffer>)),
    },
  });
}

/** Channels with other options share no connection. */
function openConnections(rig: GatewayRig): RpcChannel[] {
  return Array.from({ length: CONNECTIONS }, (_, index) =>
    rig.openChannel({ maxMessageBytes: MAX_MESSAGE_BYTES + index }),
  );
}

function openSession(channel: RpcChannel, token: string) {
  const requests = createAsyncQueue<Buffer>({ max: 4 });
  const responses = rawStream(channel, CONNECT, requests, { token });
  return {
    async ask(frame: Buffer) {
      requests.push(frame);
      return (await responses.next()).value as Buffer | undefined;
    },
    end: () => requests.end(),
  };
}

describe("sessions of many agents", () => {
  it("share one connection to the mesh-router: 1 500 are open at once, and each is answered", async () => {
    const rig = await startSessions();
    const token = await rig.agentToken("a");
    const channels = openConnections(rig);
    const sessions = Array.from({ length: SESSIONS }, (_, index) =>
      openSession(channels[index % CONNECTIONS] as RpcChannel, token),
    );
    const answers = await Promise.all(
      sessions.map((session, index) => session.ask(Buffer.from(`hello ${index}`))),
    );
    expect(answers.map(String)).toEqual(sessions.map((_, index) => `hello ${index}`));
    const open = await rig.metrics('nexus_gateway_open_streams{upstream="mesh-router"}');
    expect(open).toEqual([`nexus_gateway_open_streams{upstream="mesh-router"} ${SESSIONS}`]);
    // All are still there: the last ones did not take the place of the first.
    expect(String(await sessions[0]?.ask(Buffer.from("again")))).toBe("again");
    for (const session of sessions) session.end();
  }, 120_000);

  it("wait their turn beyond what one connection of a stranger may hold", async () => {
    const rig = await rigs.start({
      config: { maxConcurrentStreams: 2 },
      upstreams: {
        "mesh-router": (server) =>
          server.addRaw(AgentSessionService, (call) =>
            echo(call.requests as AsyncIterable<Buffer>),
          ),
      },
    });
    const token = await rig.agentToken("a");
    const first = openSession(rig.channel, token);
    const second = openSession(rig.channel, token);
    await Promise.all([first.ask(Buffer.from("1")), second.ask(Buffer.from("2"))]);
    const requests = createAsyncQueue<Buffer>({ max: 4 });
    requests.push(Buffer.from("3"));
    const impatient = rawStream(rig.channel, CONNECT, requests, { token, timeoutMs: 300 });
    expect(await failureOf(impatient.next())).toMatchObject({ kind: "deadline" });
    const third = openSession(rig.channel, token).ask(Buffer.from("4"));
    first.end();
    expect(String(await third)).toBe("4");
  });
});
