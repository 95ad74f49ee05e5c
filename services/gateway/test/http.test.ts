import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@nexus/proto/google-rpc";
import { JobService, JobState } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import type { CallContext } from "@nexus/rpc";
import { ERROR_KINDS, type ErrorKind, NexusError } from "@nexus/shared";
import { initTracing } from "@nexus/telemetry";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { complete, type GatewayRig, Rigs } from "./_helpers.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const rigs = new Rigs();
const seen: CallContext[] = [];
let rig: GatewayRig;
let failure: NexusError | undefined;

/** A JobService that keeps what it sees, and fails when it is told to. */
const jobs = complete(JobService, {
  getJob({ jobId }, ctx) {
    seen.push(ctx);
    if (failure !== undefined) throw failure;
    return { job: { jobId, state: JobState.RUNNING, labels: { team: "ünï" } } };
  },
  async *watchJob({ jobId, afterSequence }, ctx) {
    seen.push(ctx);
    if (jobId === "away" && failure !== undefined) throw failure;
    for (let at = 1n; at <= 3n; at += 1n) yield { events: [{ sequence: afterSequence + at }] };
    if (failure !== undefined) throw failure;
    if (afterSequence === 0n) return;
    await new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => resolve()));
  },
});

beforeAll(async () => {
  rig = await rigs.start({
    upstreams: {
      orchestrator: (server) => server.add(JobService, jobs),
      vault: (server) =>
        server.add(
          AuthService,
          complete(AuthService, {
            login: ({ principalId }) => ({ tokens: { accessToken: `token of ${principalId}` } }),
          }),
        ),
    },
  });
});

afterAll(() => rigs.close());

beforeEach(() => {
  seen.length = 0;
  failure = undefined;
});

type TransportOptions = Parameters<typeof createConnectTransport>[0];

const PROTOCOLS: Readonly<Record<string, (options: TransportOptions) => Transport>> = {
  "Connect with JSON": createConnectTransport,
  "Connect with protobuf": (options) =>
    createConnectTransport({ ...options, useBinaryFormat: true }),
  "gRPC-Web": createGrpcWebTransport,
};

function open(protocol: string): Transport {
  const options: TransportOptions = {
    baseUrl: rig.http,
    httpVersion: "1.1",
    useBinaryFormat: false,
  };
  return PROTOCOLS[protocol]?.(options) as Transport;
}

async function bearer(scopes?: readonly string[]): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await rig.token(scopes)}` };
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => new ConnectError("It did not fail."),
    (error: unknown) => ConnectError.from(error),
  );
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const answer of stream) expect(answer).toBeDefined();
}

function infoOf(error: ConnectError) {
  return error.findDetails(ErrorInfoSchema)[0];
}

describe.each(Object.keys(PROTOCOLS))("%s", (protocol) => {
  it("calls a method of the owner as the caller", async () => {
    const client = createClient(JobService, open(protocol));
    const { job } = await client.getJob({ jobId: "j" }, { headers: await bearer() });
    expect(job).toMatchObject({ jobId: "j", state: JobState.RUNNING, labels: { team: "ünï" } });
    expect(seen[0]?.principal?.principalId).toBe("ann");
  });

  it("calls public methods without a token", async () => {
    const client = createClient(AuthService, open(protocol));
    const { tokens } = await client.login({ principalId: "ann", password: "pw" });
    expect(tokens?.accessToken).toBe("token of ann");
  });

  it("streams answers, and the end", async () => {
    const client = createClient(JobService, open(protocol));
    const sequences: bigint[] = [];
    for await (const { events } of client.watchJob({ jobId: "j" }, { headers: await bearer() })) {
      sequences.push(...events.map(({ sequence }) => sequence));
    }
    expect(sequences).toEqual([1n, 2n, 3n]);
  });

  it("streams answers before an error", async () => {
    failure = new NexusError({ kind: "exhausted", reason: "WATCHER_TOO_SLOW", message: "Slow." });
    const client = createClient(JobService, open(protocol));
    let count = 0;
    const all = async () => {
      const stream = client.watchJob({ jobId: "j" }, { headers: await bearer() });
      for await (const { events } of stream) count += events.length;
    };
    const error = await refusal(all());
    expect([count, error.code, infoOf(error)?.reason]).toEqual([
      3,
      Code.ResourceExhausted,
      "WATCHER_TOO_SLOW",
    ]);
  });

  it("tells the owner when the caller leaves a stream", async () => {
    const client = createClient(JobService, open(protocol));
    const leaving = new AbortController();
    const options = { headers: await bearer(), signal: leaving.signal };
    const stream = client.watchJob({ jobId: "j", afterSequence: 7n }, options);
    for await (const { events } of stream) if (events[0]?.sequence === 10n) break;
    leaving.abort();
    await waitFor(() => seen[0]?.signal.aborted, { what: "the owner to hear of it" });
    await waitFor(
      async () => (await rig.metrics("nexus_gateway_open_streams{"))[0]?.endsWith(" 0"),
      { what: "the gateway to forget the stream" },
    );
  });

  it("brings the owner's error back: code, reason, text and details", async () => {
    failure = new NexusError({
      kind: "invalid",
      reason: "REQUEST_INVALID",
      message: "Bad: ünï 😀.",
      details: {
        fieldViolations: [{ field: "job_id", description: "is odd" }],
        retryAfterMs: 1_500,
        metadata: { key: "value" },
      },
    });
    const client = createClient(JobService, open(protocol));
    const error = await refusal(client.getJob({ jobId: "j" }, { headers: await bearer() }));
    expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, "Bad: ünï 😀."]);
    expect(infoOf(error)).toMatchObject({
      reason: "REQUEST_INVALID",
      domain: "nexus.orchestrator",
      metadata: { key: "value" },
    });
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
      { field: "job_id", description: "is odd" },
    ]);
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({
      seconds: 1n,
      nanos: 500_000_000,
    });
  });

  it("gives every kind the code of the gRPC port", async () => {
    const client = createClient(JobService, open(protocol));
    const headers = await bearer();
    for (const [kind, { grpcCode }] of Object.entries(ERROR_KINDS)) {
      failure = new NexusError({ kind: kind as ErrorKind, reason: "TEST", message: "No." });
      const error = await refusal(client.getJob({ jobId: "j" }, { headers }));
      expect([kind, error.code, infoOf(error)?.reason]).toEqual([kind, grpcCode, "TEST"]);
    }
  });

  it("refuses with the gRPC port's reasons", async () => {
    const client = createClient(JobService, open(protocol));
    const get = async (headers: HeadersInit) => client.getJob({ jobId: "j" }, { headers });
    const cases = [
      [{}, Code.Unauthenticated, "TOKEN_MISSING"],
      [{ authorization: "Bearer forged" }, Code.Unauthenticated, "TOKEN_INVALID"],
      [await bearer(["vault:*:*"]), Code.PermissionDenied, "SCOPE_MISSING"],
    ] as const;
    for (const [headers, code, reason] of cases) {
      const error = await refusal(get(headers));
      expect([error.code, infoOf(error)?.reason, infoOf(error)?.domain]).toEqual([
        code,
        reason,
        "nexus.gateway",
      ]);
    }
    expect(seen).toEqual([]);
  });

  it("checks requests by the contract, at the owner", async () => {
    const client = createClient(JobService, open(protocol));
    const error = await refusal(client.getJob({ jobId: "" }, { headers: await bearer() }));
    expect([error.code, infoOf(error)?.reason]).toEqual([Code.InvalidArgument, "REQUEST_INVALID"]);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("job_id");
  });

  it("says that an owner cannot be reached, and names no address", async () => {
    const away = await rigs.start();
    const transport = PROTOCOLS[protocol]?.({
      baseUrl: away.http,
      httpVersion: "1.1",
      useBinaryFormat: false,
    }) as Transport;
    const client = createClient(JobService, transport);
    const headers = { authorization: `Bearer ${await away.token()}` };
    const error = await refusal(client.getJob({ jobId: "j" }, { headers }));
    expect([error.code, infoOf(error)?.reason]).toEqual([Code.Unavailable, "UNAVAILABLE"]);
    expect(infoOf(error)?.metadata).toEqual({ upstream: "orchestrator" });
    expect(error.rawMessage).not.toMatch(/\d+\.\d+|ECONN/);
  });

  it("ends by the caller's deadline, with the reason of the gRPC port", async () => {
    const client = createClient(JobService, open(protocol));
    const options = { headers: await bearer(), timeoutMs: 500 };
    const all = async () => {
      const stream = client.watchJob({ jobId: "j", afterSequence: 7n }, options);
      for await (const { events } of stream) expect(events.length).toBe(1);
    };
    const error = await refusal(all());
    expect(error.code).toBe(Code.DeadlineExceeded);
    await waitFor(() => seen[0]?.signal.aborted, { what: "the owner to hear of it" });
  });
});

describe("an HTTP call", () => {
  it("takes token and trace along, and no other header", async () => {
    const tracing = await initTracing({ service: "test" });
    const client = createClient(JobService, open("gRPC-Web"));
    const headers = {
      ...(await bearer()),
      traceparent: TRACEPARENT,
      "x-nexus-principal": "root",
      cookie: "a=b",
    };
    await client.getJob({ jobId: "j" }, { headers });
    await tracing.shutdown();
    const { metadata } = seen[0] as CallContext;
    expect(metadata.get("authorization")).toBe(headers.authorization);
    expect(metadata.get("traceparent")?.split("-")[1]).toBe(TRACEPARENT.split("-")[1]);
    expect(metadata.get("x-nexus-principal")).toBeUndefined();
    expect(metadata.get("cookie")).toBeUndefined();
  });

  it("is counted like one on the gRPC port", async () => {
    const before = await rig.metrics("nexus_gateway_relayed_calls_total{");
    const client = createClient(JobService, open("Connect with JSON"));
    await client.getJob({ jobId: "j" }, { headers: await bearer() });
    await rig.client(JobService).getJob({ jobId: "j" }, { token: await rig.token() });
    const count = (lines: readonly string[]) =>
      Number(/orchestrator",code_class="ok"} (\d+)/.exec(lines.join("\n"))?.[1] ?? 0);
    const after = await rig.metrics("nexus_gateway_relayed_calls_total{");
    expect(count(after)).toBe(count(before) + 2);
  });

  it("is ours to answer for when its owner goes before anything came of its stream", async () => {
    const counted = async (code: string) => {
      const lines = await rig.metrics("nexus_gateway_relayed_calls_total{");
      const count = new RegExp(`orchestrator",code_class="${code}"} (\\d+)`).exec(lines.join("\n"));
      return Number(count?.[1] ?? 0);
    };
    const before = [await counted("ok"), await counted("server")] as const;
    const client = createClient(JobService, open("Connect with JSON"));
    failure = new NexusError({ kind: "unavailable", reason: "SERVER_DRAINING", message: "Later." });
    for (const jobId of ["away", "served"]) {
      const watch = client.watchJob({ jobId }, { headers: await bearer() });
      const error = await refusal(drain(watch));
      expect(infoOf(error)?.reason).toBe("SERVER_DRAINING");
    }
    await waitFor(async () => (await counted("ok")) === before[0] + 1, { what: "the good end" });
    expect(await counted("server")).toBe(before[1] + 1);
  });
});
