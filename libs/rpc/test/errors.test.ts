import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  credentials,
  status as grpcStatus,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import { ErrorInfoSchema, StatusSchema } from "@nexus/proto/google-rpc";
import { AuthService } from "@nexus/proto/vault";
import { createLogger, ERROR_KINDS, type ErrorKind, NexusError } from "@nexus/shared";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRpcClient, type RpcClient } from "../src/index.ts";
import { authHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const logLines: string[] = [];
let thrown: () => unknown = () => undefined;
let rig: Rig;
let client: RpcClient<typeof AuthService>;

beforeAll(async () => {
  const logger = createLogger({
    service: "vault",
    destination: { write: (line: string) => void logLines.push(line) },
  });
  const handlers = authHandlers({
    login() {
      throw thrown();
    },
    getJwks: async () => ({ jwksJson: "{}" }),
  });
  rig = await startRig((server) => server.add(AuthService, handlers), { logger });
  client = createRpcClient(AuthService, rig.channel);
});

afterAll(() => rig.close());

/** Calls Login, whose handler throws `error`, and returns what the caller gets. */
async function failureOf(error: unknown, request = CREDENTIALS): Promise<NexusError> {
  thrown = () => error;
  const failure: unknown = await client.login(request).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(failure).toBeInstanceOf(NexusError);
  return failure as NexusError;
}

/** Calls a path of the server with any bytes and returns the raw status. */
function callRaw(path: string, bytes: Buffer, metadata = new Metadata()): Promise<ServiceError> {
  const Raw = makeGenericClientConstructor({}, "raw");
  const raw = new Raw(rig.address, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
  });
  const pass = (value: Buffer) => value;
  return new Promise((resolve, reject) => {
    raw.makeUnaryRequest(path, pass, pass, bytes, metadata, (error) => {
      raw.close();
      if (error === null) reject(new Error("The call succeeded."));
      else resolve(error);
    });
  });
}

function errorInfoOf(error: ServiceError) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const details = fromBinary(StatusSchema, bytes as Buffer).details;
  return details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info !== undefined);
}

describe("errors on the wire", () => {
  it.each(Object.keys(ERROR_KINDS) as ErrorKind[])(
    "carry kind %s, reason and details",
    async (kind) => {
      const error = await failureOf(
        new NexusError({
          kind,
          reason: "SOME_REASON",
          message: "Something for people: ünïcode 例.",
          details: {
            fieldViolations: [{ field: "tasks[2].name", description: "is too long" }],
            retryAfterMs: 1_250,
            metadata: { fence: "7" },
          },
        }),
      );
      expect(error).toMatchObject({
        kind,
        reason: "SOME_REASON",
        message: "Something for people: ünïcode 例.",
      });
      expect(error.details.fieldViolations).toEqual([
        { field: "tasks[2].name", description: "is too long" },
      ]);
      expect(error.details.retryAfterMs).toBe(1_250);
      expect(error.details.metadata).toMatchObject({ fence: "7" });
    },
  );

  it("hide what is not a NexusError behind an error id that the log knows", async () => {
    logLines.length = 0;
    const cause = new Error('relation "vault.principals" does not exist');
    const error = await failureOf(cause);
    expect(error).toMatchObject({
      kind: "internal",
      reason: "INTERNAL",
      message: "An internal error occurred.",
    });
    expect(JSON.stringify(error.details)).not.toContain("principals");
    const errorId = error.details.metadata?.["error_id"];
    expect(errorId).toMatch(/^[0-9a-f-]{36}$/);
    const line = logLines.find((candidate) => candidate.includes(errorId ?? "-"));
    expect(line).toContain("vault.principals");
  });

  it.each([undefined, null, "a string", 42, { code: 5, message: "spoof" }])(
    "make INTERNAL of %j when a handler throws it",
    async (value) => {
      expect(await failureOf(value)).toMatchObject({ kind: "internal", reason: "INTERNAL" });
    },
  );

  it("name the domain of the service", async () => {
    const error = await callRaw("/nexus.vault.v1.AuthService/WhoAmI", Buffer.alloc(0));
    expect(error.code).toBe(grpcStatus.UNAUTHENTICATED);
    expect(errorInfoOf(error)).toMatchObject({ reason: "TOKEN_MISSING", domain: "nexus.vault" });
  });

  it("survive text that no header can hold", async () => {
    const error = await failureOf(
      new NexusError({
        kind: "conflict",
        reason: "ODD_TEXT",
        message: `half a pair \ud83d, a line\nbreak, a nul \0 and ${"x".repeat(5_000)}`,
        details: { metadata: { half: "\udc00" } },
      }),
    );
    expect(error).toMatchObject({ kind: "conflict", reason: "ODD_TEXT" });
    expect(error.message.length).toBeLessThanOrEqual(1_024);
  });

  it("stay within what clients accept as trailers, however many rules are broken", async () => {
    const fieldViolations = Array.from({ length: 5_000 }, (_, i) => ({
      field: `tasks[${i}].capability`,
      description: "must not be empty",
    }));
    const error = await failureOf(
      new NexusError({
        kind: "invalid",
        reason: "REQUEST_INVALID",
        message: "Many.",
        details: { fieldViolations },
      }),
    );
    expect(error).toMatchObject({ kind: "invalid", reason: "REQUEST_INVALID" });
    expect(error.details.fieldViolations?.length).toBeGreaterThan(20);
  });
});

describe("requests that never reach a handler", () => {
  it("answers INVALID_ARGUMENT to bytes that are no message", async () => {
    const error = await callRaw(
      "/nexus.vault.v1.AuthService/Login",
      Buffer.from("ffffffff", "hex"),
    );
    expect(error.code).toBe(grpcStatus.INVALID_ARGUMENT);
    expect(errorInfoOf(error)?.reason).toBe("REQUEST_MALFORMED");
  });

  it("answers RESOURCE_EXHAUSTED to a message over 4 MiB and goes on serving", async () => {
    const tooLarge = Buffer.alloc(4 * 1024 * 1024 + 1);
    const error = await callRaw("/nexus.vault.v1.AuthService/Login", tooLarge);
    expect(error.code).toBe(grpcStatus.RESOURCE_EXHAUSTED);
    expect(errorInfoOf(error)?.reason).toBe("MESSAGE_TOO_LARGE");
    expect(await client.getJwks({})).toMatchObject({ jwksJson: "{}" });
    expect(await rig.metrics.text()).toContain(
      'nexus_vault_rpc_transport_refusals_total{reason="MESSAGE_TOO_LARGE"} 1',
    );
  });

  it("answers RESOURCE_EXHAUSTED to headers over 16 KiB and goes on serving", async () => {
    const metadata = new Metadata();
    metadata.set("x-big", "y".repeat(20 * 1024));
    const error = await callRaw("/nexus.vault.v1.AuthService/GetJwks", Buffer.alloc(0), metadata);
    expect(error.code).toBe(grpcStatus.RESOURCE_EXHAUSTED);
    expect(await client.getJwks({})).toMatchObject({ jwksJson: "{}" });
  });

  it("answers UNIMPLEMENTED to a method that nobody serves", async () => {
    const error = await callRaw("/nexus.vault.v1.AuthService/Nothing", Buffer.alloc(0));
    expect(error.code).toBe(grpcStatus.UNIMPLEMENTED);
  });

  it("names every broken rule of a request by its field", async () => {
    const error = await failureOf(undefined, { principalId: "", password: "" });
    expect(error).toMatchObject({ kind: "invalid", reason: "REQUEST_INVALID" });
    const fields = error.details.fieldViolations?.map(({ field }) => field);
    expect(fields).toEqual(["principal_id", "password"]);
  });

  it("asks for a token before it looks at the request", async () => {
    const error = await callRaw(
      "/nexus.vault.v1.AuthService/RevokeTokens",
      Buffer.from("ff", "hex"),
    );
    expect(error.code).toBe(grpcStatus.UNAUTHENTICATED);
  });

  it("says which scope is missing", async () => {
    const token = rig.verifier.token("bob", ["vault:principal:read"]);
    const failure = client.revokeTokens(
      { requestId: "r", target: { case: "tokenId", value: "t" } },
      { token },
    );
    await expect(failure).rejects.toMatchObject({
      kind: "forbidden",
      reason: "SCOPE_MISSING",
      details: { metadata: { required_scope: "vault:token:revoke" } },
    });
  });
});

describe("an error over several hops", () => {
  it("keeps kind, reason, details and domain of the service that threw it", async () => {
    const middle = await startRig(
      (server) =>
        server.add(AuthService, authHandlers({ login: (request) => client.login(request) })),
      { service: "gateway" },
    );
    thrown = () =>
      new NexusError({
        kind: "exhausted",
        reason: "LOGIN_BUSY",
        message: "Too many logins.",
        details: { retryAfterMs: 500 },
      });
    const outer = createRpcClient(AuthService, middle.channel);
    await expect(outer.login(CREDENTIALS)).rejects.toMatchObject({
      kind: "exhausted",
      reason: "LOGIN_BUSY",
      message: "Too many logins.",
      details: { retryAfterMs: 500 },
    });
    await middle.close();
  });

  it("keeps the error id of the service that failed", async () => {
    const middle = await startRig(
      (server) =>
        server.add(AuthService, authHandlers({ login: (request) => client.login(request) })),
      { service: "gateway" },
    );
    logLines.length = 0;
    thrown = () => new TypeError("boom");
    const outer = createRpcClient(AuthService, middle.channel);
    const failure: unknown = await outer.login(CREDENTIALS).catch((error: unknown) => error);
    const errorId = (failure as NexusError).details.metadata?.["error_id"] ?? "-";
    expect(logLines.some((line) => line.includes(errorId) && line.includes("boom"))).toBe(true);
    await middle.close();
  });
});
