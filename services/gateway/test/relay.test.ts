import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import { ErrorInfoSchema, StatusSchema } from "@nexus/proto/google-rpc";
import { AgentSessionService, DispatchService } from "@nexus/proto/mesh";
import { JobService, LeaseService } from "@nexus/proto/orchestrator";
import { OutcomeService, PresenceService, RegistryService } from "@nexus/proto/registry";
import { AuthService } from "@nexus/proto/vault";
import {
  createRpcClient,
  fromWireStatus,
  type RawCall,
  type RpcChannel,
  rawUnary,
} from "@nexus/rpc";
import { initTracing } from "@nexus/telemetry";
import { afterEach, describe, expect, it } from "vitest";
import { complete, drainAll, failureOf, Rigs } from "./_helpers.ts";
import { startProxy } from "./_proxy.ts";

const GET_AGENT = "/nexus.registry.v1.RegistryService/GetAgent";
const DETAILS = "grpc-status-details-bin";
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const EMPTY = Buffer.alloc(0);
const rigs = new Rigs();

afterEach(() => rigs.close());

/** A registry that keeps each raw call and answers with its bytes. */
async function startEcho() {
  const calls: RawCall[] = [];
  const rig = await rigs.start({
    upstreams: {
      registry: (server) =>
        server.addRaw(RegistryService, (call) => {
          calls.push(call);
          return Promise.resolve(call.request ?? EMPTY);
        }),
    },
  });
  return { rig, calls };
}

/** The status details that a failing call brings, as they are on the wire. */
async function detailsOf(channel: RpcChannel, token: string): Promise<Buffer> {
  let trailer = new Metadata();
  const onTrailer = (metadata: Metadata) => (trailer = metadata);
  await failureOf(rawUnary(channel, GET_AGENT, EMPTY, { token, onTrailer }));
  return trailer.get(DETAILS)[0] as Buffer;
}

describe("a unary call through the gateway", () => {
  it("reaches its owner and comes back byte for byte, also what no contract knows", async () => {
    const { rig } = await startEcho();
    const bytes = Buffer.from("924d04cafebabe", "hex");
    const token = await rig.token();
    expect(await rawUnary(rig.channel, GET_AGENT, bytes, { token })).toEqual(bytes);
  });

  it("takes the caller's token and address along, and no header of its own", async () => {
    const { rig, calls } = await startEcho();
    const token = await rig.token(["registry:agent:read"]);
    const metadata = {
      "x-nexus-principal": "root",
      "x-forwarded-for": "10.0.0.1",
      "nexus-client-address": "10.0.0.1",
      "grpc-previous-rpc-attempts": "3",
      cookie: "a=b",
    };
    await rawUnary(rig.channel, GET_AGENT, EMPTY, { token, metadata });
    expect(calls[0]?.ctx.token).toBe(token);
    expect(calls[0]?.ctx.principal?.principalId).toBe("ann");
    const names = Object.keys(calls[0]?.metadata.getMap() ?? {});
    const own = ["authorization", "traceparent", "tracestate", "user-agent"];
    expect(names.filter((name) => !own.includes(name))).toEqual(["nexus-client-address"]);
    expect(calls[0]?.ctx.metadata.get("nexus-client-address")).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it("goes on with the caller's trace", async () => {
    const tracing = await initTracing({ service: "test" });
    const { rig, calls } = await startEcho();
    const metadata = { traceparent: TRACEPARENT };
    await rawUnary(rig.channel, GET_AGENT, EMPTY, { token: await rig.token(), metadata });
    await tracing.shutdown();
    const [, traceId, spanId] = (calls[0]?.ctx.metadata.get("traceparent") ?? "").split("-");
    expect(traceId).toBe(TRACEPARENT.split("-")[1]);
    expect(spanId).not.toBe(TRACEPARENT.split("-")[2]);
  });

  it("gives the owner a little less time than the caller gave", async () => {
    const { rig, calls } = await startEcho();
    const startedAtMs = Date.now();
    const options = { token: await rig.token(), timeoutMs: 20_000 };
    await rawUnary(rig.channel, GET_AGENT, EMPTY, options);
    const givenMs = (calls[0]?.ctx.deadlineAtMs ?? 0) - startedAtMs;
    expect(givenMs).toBeGreaterThan(19_000);
    expect(givenMs).toBeLessThan(20_000 + Date.now() - startedAtMs);
  });

  it("brings the owner's error back byte for byte, also details that nobody here knows", async () => {
    const strange = create(AnySchema, { typeUrl: "type.googleapis.com/a.B", value: EMPTY });
    const info = { reason: "AGENT_LIMIT", domain: "nexus.registry", metadata: { limit: "100" } };
    const status = create(StatusSchema, {
      code: 8,
      message: "Full: ünïcödé 😀.",
      details: [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, info)), strange],
    });
    const metadata = new Metadata();
    metadata.set(DETAILS, Buffer.from(toBinary(StatusSchema, status)));
    const error = fromWireStatus({ code: 8, details: status.message, metadata });
    const rig = await rigs.start({
      upstreams: {
        registry: (server) => server.addRaw(RegistryService, () => Promise.reject(error)),
      },
    });
    const token = await rig.token();
    const direct = await detailsOf(rig.openUpstreamChannel("registry"), token);
    expect(direct).toEqual(metadata.get(DETAILS)[0]);
    expect(await detailsOf(rig.channel, token)).toEqual(direct);
    const failure = await failureOf(rawUnary(rig.channel, GET_AGENT, EMPTY, { token }));
    expect(failure).toMatchObject({ kind: "exhausted", reason: "AGENT_LIMIT" });
    expect(failure.message).toBe(status.message);
  });

  it("is UNAVAILABLE, with details and without addresses, when its owner is not there", async () => {
    const rig = await rigs.start();
    const call = rawUnary(rig.channel, GET_AGENT, EMPTY, { token: await rig.token() });
    const error = await failureOf(call);
    expect(error).toMatchObject({ kind: "unavailable", reason: "UNAVAILABLE" });
    expect(error.details.metadata).toEqual({ upstream: "registry" });
    expect(error.message).not.toMatch(/\d+\.\d+|ECONN/);
  });

  it("is UNAVAILABLE when its owner dies while it runs", async () => {
    let proxy: Awaited<ReturnType<typeof startProxy>> | undefined;
    const rig = await rigs.start({
      upstreams: {
        registry: (server) =>
          server.addRaw(RegistryService, () => {
            proxy?.cut();
            return new Promise(() => undefined);
          }),
      },
      through: async (_upstream, address) => {
        proxy = rigs.keep(await startProxy(address));
        return proxy.address;
      },
    });
    const call = rawUnary(rig.channel, GET_AGENT, EMPTY, { token: await rig.token() });
    const error = await failureOf(call);
    expect(error).toMatchObject({ kind: "unavailable", reason: "UNAVAILABLE" });
    expect(error.details.metadata).toEqual({ upstream: "registry" });
    expect(error.message).not.toMatch(/\d+\.\d+|ECONN|RST/);
  });
});

describe("the gateway refuses", () => {
  it("internal contracts as unknown, whatever the token", async () => {
    const anything = () => Promise.resolve(EMPTY);
    const rig = await rigs.start({
      upstreams: {
        registry: (server) =>
          server.addRaw(OutcomeService, anything).addRaw(PresenceService, anything),
        "mesh-router": (server) => server.addRaw(DispatchService, anything),
        orchestrator: (server) => server.addRaw(LeaseService, anything),
      },
    });
    const token = await rig.identity.token({ sub: "orchestrator", kind: "service" });
    for (const desc of [OutcomeService, PresenceService, DispatchService, LeaseService]) {
      for (const { name } of desc.methods) {
        const path = `/${desc.typeName}/${name}`;
        const error = await failureOf(rawUnary(rig.channel, path, EMPTY, { token }));
        expect([path, error.kind, error.reason]).toEqual([
          path,
          "unimplemented",
          "METHOD_NOT_FOUND",
        ]);
      }
    }
  });

  it("calls without a token, with a forged one, and without the scope, before the owner sees them", async () => {
    const { rig, calls } = await startEcho();
    const forged = (await rig.token()).replace(/.{4}$/, "AAAA");
    const cases = [
      [undefined, "unauthenticated", "TOKEN_MISSING"],
      [forged, "unauthenticated", "TOKEN_INVALID"],
      [
        await rig.identity.token({ sub: "ann", ttlMs: -60_000 }),
        "unauthenticated",
        "TOKEN_EXPIRED",
      ],
      [await rig.token(["vault:*:*"]), "forbidden", "SCOPE_MISSING"],
    ] as const;
    for (const [token, kind, reason] of cases) {
      const error = await failureOf(rawUnary(rig.channel, GET_AGENT, EMPTY, { token }));
      expect([error.kind, error.reason]).toEqual([kind, reason]);
    }
    const revoked = await rig.token();
    rig.identity.revoke(revoked);
    const error = await failureOf(rawUnary(rig.channel, GET_AGENT, EMPTY, { token: revoked }));
    expect(error.reason).toBe("TOKEN_REVOKED");
    expect(calls).toEqual([]);
  });

  it("messages over the limit", async () => {
    const messageMaxBytes = 64 * 1_024;
    const rig = await rigs.start({ config: { messageMaxBytes } });
    const bytes = Buffer.alloc(messageMaxBytes + 1);
    const token = await rig.token();
    const error = await failureOf(rawUnary(rig.channel, GET_AGENT, bytes, { token }));
    expect(error).toMatchObject({ kind: "exhausted", reason: "MESSAGE_TOO_LARGE" });
  });
});

describe("every public contract", () => {
  it("is reached at its owner", async () => {
    const login = { tokens: { accessToken: "a" } };
    const rig = await rigs.start({
      upstreams: {
        vault: (server) => server.add(AuthService, complete(AuthService, { login: () => login })),
        orchestrator: (server) =>
          server.add(JobService, complete(JobService, { getJob: () => ({ job: { jobId: "j" } }) })),
        "mesh-router": (server) =>
          server.add(
            AgentSessionService,
            complete(AgentSessionService, {
              async *connect() {
                yield { welcome: { sessionId: "s" } };
              },
            }),
          ),
      },
    });
    const token = await rig.token();
    const credentials = { principalId: "ann", password: "pw" };
    expect((await rig.client(AuthService).login(credentials)).tokens?.accessToken).toBe("a");
    const { job } = await rig.client(JobService).getJob({ jobId: "j" }, { token });
    expect(job?.jobId).toBe("j");
    const session = createRpcClient(AgentSessionService, rig.channel);
    const agent = await rig.agentToken("a");
    const { items } = await drainAll(session.connect(endless(), { token: agent }));
    expect(items.map(({ welcome }) => welcome?.sessionId)).toEqual(["s"]);
  });
});

async function* endless() {
  yield await new Promise<object>(() => undefined);
}
