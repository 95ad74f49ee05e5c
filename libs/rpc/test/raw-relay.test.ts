import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { status as grpcStatus, Metadata, type ServiceError } from "@grpc/grpc-js";
import { AgentSessionService, ConnectRequestSchema } from "@nexus/proto/mesh";
import { AuthService, LoginRequestSchema, LoginResponseSchema } from "@nexus/proto/vault";
import { createAsyncQueue, NexusError } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import {
  callOptions,
  createRpcChannel,
  createRpcClient,
  type RawCall,
  type RpcServer,
  rawStream,
  rawUnary,
} from "../src/index.ts";
import { identity, methodPath } from "../src/wire/codec.ts";
import { authHandlers } from "./_handlers.ts";
import { LocalVerifier, type Rig, startRig } from "./_harness.ts";
import { aborted, deferred, drainAll, until } from "./_wait.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A backend, and a gateway before it that relays bytes. Both know the same tokens. */
async function startPair(build: (server: RpcServer) => void) {
  const verifier = new LocalVerifier();
  const backend = await startRig(build, { verifier });
  const upstream = createRpcChannel({ address: backend.address });
  const relay = (call: RawCall) => {
    const options = {
      ...callOptions(call.ctx),
      onHeader: (header: Metadata) => call.sendHeader(header),
      onTrailer: (trailer: Metadata) => call.trailer.merge(trailer),
    };
    if (call.requests === undefined && call.method.methodKind === "unary") {
      return rawUnary(upstream, methodPath(call.method), call.request ?? Buffer.alloc(0), options);
    }
    const requests = call.requests ?? call.request ?? Buffer.alloc(0);
    return rawStream(upstream, call.method, requests, options);
  };
  const gateway = await startRig(
    (server) => server.addRaw(AuthService, relay).addRaw(AgentSessionService, relay),
    { verifier, service: "gateway" },
  );
  closers.push(async () => {
    await gateway.close();
    upstream.close();
    await backend.close();
  });
  return { backend, gateway, verifier };
}

/** Bytes of a message followed by a field 1234 that its contract does not have. */
function withUnknownField(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.from("924d04cafebabe", "hex")]);
}

describe("a raw relay", () => {
  it("passes unary bytes on exactly, unknown fields included", async () => {
    const seen: Buffer[] = [];
    const { gateway } = await startPair((server) =>
      server.addRaw(AuthService, (call) => {
        seen.push(call.request ?? Buffer.alloc(0));
        const answer = toBinary(LoginResponseSchema, create(LoginResponseSchema, {}));
        return Promise.resolve(withUnknownField(answer));
      }),
    );
    const request = withUnknownField(
      toBinary(LoginRequestSchema, create(LoginRequestSchema, CREDENTIALS)),
    );
    const answer = await rawUnary(gateway.channel, methodPath(AuthService.method.login), request);
    expect(seen).toEqual([request]);
    expect(answer.toString("hex")).toBe("924d04cafebabe");
  });

  it("passes stream bytes on exactly, in both directions and in order", async () => {
    const { gateway, verifier } = await startPair((server) =>
      server.addRaw(
        AgentSessionService,
        (call) => call.requests ?? Promise.resolve(Buffer.alloc(0)),
      ),
    );
    const frames = Array.from({ length: 200 }, (_, i) =>
      withUnknownField(
        toBinary(
          ConnectRequestSchema,
          create(ConnectRequestSchema, {
            sends: [{ messageId: `${i}`, payload: { data: Buffer.alloc(i * 50, i) } }],
          }),
        ),
      ),
    );
    const answers = rawStream(
      gateway.channel,
      AgentSessionService.method.connect,
      (async function* () {
        yield* frames;
      })(),
      { token: verifier.token("ann") },
    );
    const { items, error } = await drainAll(answers);
    expect(error).toBeUndefined();
    expect(Buffer.concat(items).equals(Buffer.concat(frames))).toBe(true);
    expect(items.length).toBe(frames.length);
  });

  it("relays a server stream from one request", async () => {
    const { gateway, verifier } = await startPair((server) =>
      server.add(
        AuthService,
        authHandlers({
          async *watchRevocations({ resumeRevision }) {
            for (let i = resumeRevision; i < 10n; i++) yield { revision: i };
          },
        }),
      ),
    );
    const client = createRpcClient(AuthService, gateway.channel);
    const token = verifier.token("ann");
    const { items } = await drainAll(client.watchRevocations({ resumeRevision: 7n }, { token }));
    expect(items.map(({ revision }) => revision)).toEqual([7n, 8n, 9n]);
  });

  it("passes an upstream failure on byte for byte", async () => {
    const { backend, gateway } = await startPair((server) =>
      server.add(
        AuthService,
        authHandlers({
          login() {
            throw new NexusError({
              kind: "exhausted",
              reason: "LOGIN_BUSY",
              message: "Too many logins.",
              details: { retryAfterMs: 700, metadata: { waiting: "9" } },
            });
          },
        }),
      ),
    );
    const direct = await failureOf(backend);
    const relayed = await failureOf(gateway);
    expect(direct.code).toBe(grpcStatus.RESOURCE_EXHAUSTED);
    expect([relayed.code, relayed.details]).toEqual([direct.code, direct.details]);
    expect(relayed.metadata.get("grpc-status-details-bin")).toEqual(
      direct.metadata.get("grpc-status-details-bin"),
    );
  });

  it("passes headers and trailers of the answer on", async () => {
    const { gateway } = await startPair((server) =>
      server.addRaw(AuthService, (call) => {
        const header = new Metadata();
        header.set("x-served-by", "backend");
        call.sendHeader(header);
        call.trailer.set("x-rows", "3");
        return Promise.resolve(Buffer.alloc(0));
      }),
    );
    const seen: Record<string, unknown> = {};
    await rawUnary(gateway.channel, methodPath(AuthService.method.getJwks), Buffer.alloc(0), {
      onHeader: (header) => (seen["header"] = header.get("x-served-by")[0]),
      onTrailer: (trailer) => (seen["trailer"] = trailer.get("x-rows")[0]),
    });
    expect(seen).toEqual({ header: "backend", trailer: "3" });
  });

  it("refuses before anything is relayed when the token lacks the scope", async () => {
    let relayed = 0;
    const { gateway, verifier } = await startPair((server) =>
      server.addRaw(AuthService, () => {
        relayed += 1;
        return Promise.resolve(Buffer.alloc(0));
      }),
    );
    const path = methodPath(AuthService.method.rotateSigningKey);
    const token = verifier.token("ann", ["vault:principal:read"]);
    const failure = rawUnary(gateway.channel, path, Buffer.alloc(0), { token });
    await expect(failure).rejects.toMatchObject({ kind: "forbidden", reason: "SCOPE_MISSING" });
    expect(relayed).toBe(0);
  });

  it("cancels upstream when the client leaves", async () => {
    const gone = deferred();
    const { gateway, verifier } = await startPair((server) =>
      server.add(
        AuthService,
        authHandlers({
          async *watchRevocations(_request, ctx) {
            yield { revision: 1n };
            await aborted(ctx.signal);
            gone.resolve();
          },
        }),
      ),
    );
    const client = createRpcClient(AuthService, gateway.channel);
    for await (const _ of client.watchRevocations({}, { token: verifier.token("ann") })) break;
    await gone.promise;
  });

  it("lets a slow reader hold back the backend through the gateway", async () => {
    let produced = 0;
    const frame = Buffer.alloc(64 * 1024);
    const { gateway, verifier } = await startPair((server) =>
      server.addRaw(AgentSessionService, async function* () {
        for (; produced < 600; produced++) yield frame;
      } as (call: RawCall) => AsyncIterable<Buffer>),
    );
    const answers = rawStream(
      gateway.channel,
      AgentSessionService.method.connect,
      createAsyncQueue<Buffer>({ max: 1 }),
      { token: verifier.token("ann") },
    );
    await answers.next();
    let last = 0;
    let same = 0;
    await until("the backend to stop", () => {
      same = produced === last ? same + 1 : 0;
      last = produced;
      return same >= 20;
    });
    expect(produced).toBeLessThan(150);
    const { items } = await drainAll(answers);
    expect(items.length).toBe(599);
  });

  it("leaves what it relays readable: a typed client notices nothing", async () => {
    const { gateway } = await startPair((server) =>
      server.add(
        AuthService,
        authHandlers({
          login: async ({ principalId }) => ({ tokens: { accessToken: principalId } }),
        }),
      ),
    );
    const client = createRpcClient(AuthService, gateway.channel);
    expect((await client.login(CREDENTIALS)).tokens?.accessToken).toBe("ann");
    const broken = client.login({ principalId: "", password: "" });
    await expect(broken).rejects.toMatchObject({ kind: "invalid", reason: "REQUEST_INVALID" });
  });
});

function failureOf(rig: Rig): Promise<ServiceError> {
  const bytes = toBinary(LoginRequestSchema, create(LoginRequestSchema, CREDENTIALS));
  expect(fromBinary(LoginRequestSchema, bytes).principalId).toBe("ann");
  return new Promise((resolve, reject) => {
    rig.channel.transport.makeUnaryRequest(
      methodPath(AuthService.method.login),
      identity,
      identity,
      Buffer.from(bytes),
      new Metadata(),
      (error) => {
        if (error === null) reject(new Error("The call succeeded."));
        else resolve(error);
      },
    );
  });
}
