import { getEventListeners } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AuthService, LoginRequestSchema, LoginResponseSchema } from "@nexus/proto/vault";
import { afterEach, describe, expect, it } from "vitest";
import { type CallContext, callOptions, createRpcClient, rawUnary } from "../src/index.ts";
import { authHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";
import { aborted, deferred, until } from "./_wait.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const LOGIN_PATH = "/nexus.vault.v1.AuthService/Login";
const LOGIN_BYTES = Buffer.from(
  toBinary(LoginRequestSchema, create(LoginRequestSchema, CREDENTIALS)),
);
const rigs: Rig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0).reverse()) await rig.close();
});

type LoginHandler = (ctx: CallContext) => Promise<object>;

async function rigWith(login: LoginHandler, defaultDeadlineMs?: number): Promise<Rig> {
  const handlers = authHandlers({ login: (_request, ctx) => login(ctx) });
  const limits = defaultDeadlineMs === undefined ? {} : { defaultDeadlineMs };
  const rig = await startRig((server) => server.add(AuthService, handlers), { limits });
  rigs.push(rig);
  return rig;
}

function clientOf(rig: Rig, timeoutMs?: number) {
  return createRpcClient(AuthService, rig.channel, { timeoutMs });
}

describe("deadlines", () => {
  it("gives a unary call without one thirty seconds", async () => {
    let remainingMs = 0;
    const rig = await rigWith(async (ctx) => {
      remainingMs = (ctx.deadlineAtMs ?? 0) - Date.now();
      return {};
    });
    const answer = await rawUnary(rig.channel, LOGIN_PATH, LOGIN_BYTES);
    expect(fromBinary(LoginResponseSchema, answer).tokens).toBeUndefined();
    expect(remainingMs).toBeGreaterThan(29_000);
    expect(remainingMs).toBeLessThanOrEqual(30_000);
  });

  it("makes clients set ten seconds unless told otherwise", async () => {
    const seen: number[] = [];
    const rig = await rigWith(async (ctx) => {
      seen.push((ctx.deadlineAtMs ?? 0) - Date.now());
      return {};
    });
    await clientOf(rig).login(CREDENTIALS);
    await clientOf(rig, 3_000).login(CREDENTIALS);
    await clientOf(rig).login(CREDENTIALS, { timeoutMs: 1_000 });
    expect(seen.map((ms) => Math.ceil(ms / 1_000))).toEqual([10, 3, 1]);
  });

  it("answers DEADLINE_EXCEEDED itself, though the handler never returns", async () => {
    const reasons: unknown[] = [];
    const rig = await rigWith(async (ctx) => {
      await aborted(ctx.signal);
      reasons.push(ctx.signal.reason);
      return new Promise<never>(() => undefined);
    }, 100);
    const failure = rawUnary(rig.channel, LOGIN_PATH, LOGIN_BYTES);
    await expect(failure).rejects.toMatchObject({
      kind: "deadline",
      reason: "DEADLINE_EXCEEDED",
      message: "The deadline of the call passed before its answer was ready.",
    });
    expect(reasons).toMatchObject([{ kind: "deadline" }]);
  });

  it("answers by its own clock a little before the client's", async () => {
    const rig = await rigWith(() => new Promise<never>(() => undefined));
    const session = connect(`http://${rig.address}`);
    const call = session.request({
      ":method": "POST",
      ":path": LOGIN_PATH,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": "300m",
    });
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(LOGIN_BYTES.length, 1);
    call.end(Buffer.concat([prefix, LOGIN_BYTES]));
    const headers = await new Promise<IncomingHttpHeaders>((resolve) =>
      call.on("response", resolve),
    );
    expect(headers["grpc-status"]).toBe("4");
    // The transport's own answer at the full 300 ms reads "before its answer came".
    expect(decodeURI(String(headers["grpc-message"]))).toContain("before its answer was ready");
    call.close();
    session.close();
  });

  it("passes on what is left, less a margin", async () => {
    let inner = { deadlineAtMs: 0, arrivedAtMs: 0 };
    let outer = { deadlineAtMs: 0, sentAtMs: 0 };
    const innerRig = await rigWith(async (ctx) => {
      inner = { deadlineAtMs: ctx.deadlineAtMs ?? 0, arrivedAtMs: Date.now() };
      return {};
    });
    const outerRig = await rigWith(async (ctx) => {
      outer = { deadlineAtMs: ctx.deadlineAtMs ?? 0, sentAtMs: Date.now() };
      return clientOf(innerRig).login(CREDENTIALS, callOptions(ctx));
    });
    await clientOf(outerRig).login(CREDENTIALS, { timeoutMs: 8_000 });
    // The wire carries a duration, so the inner clock starts as late as the call arrives.
    const transitMs = inner.arrivedAtMs - outer.sentAtMs;
    const marginMs = outer.deadlineAtMs - inner.deadlineAtMs;
    expect(marginMs).toBeLessThanOrEqual(21);
    expect(marginMs).toBeGreaterThanOrEqual(18 - transitMs);
  });

  it("makes no call when no time is left", async () => {
    let calls = 0;
    const inner = await rigWith(async () => {
      calls += 1;
      return {};
    });
    const spent = { deadlineAtMs: Date.now() + 15, signal: new AbortController().signal };
    const failure = clientOf(inner).login(CREDENTIALS, { parent: spent as CallContext });
    await expect(failure).rejects.toMatchObject({ kind: "deadline", reason: "DEADLINE_EXCEEDED" });
    expect(calls).toBe(0);
  });
});

describe("cancellation", () => {
  it("reaches the handler when the client leaves", async () => {
    const started = deferred();
    let reason: unknown;
    const rig = await rigWith(async (ctx) => {
      started.resolve();
      await aborted(ctx.signal);
      reason = ctx.signal.reason;
      return {};
    });
    const controller = new AbortController();
    const call = clientOf(rig).login(CREDENTIALS, { signal: controller.signal });
    await started.promise;
    controller.abort();
    await expect(call).rejects.toMatchObject({ kind: "cancelled", reason: "CANCELLED" });
    await until("the handler's signal", () => reason !== undefined);
    expect(reason).toMatchObject({ kind: "cancelled" });
  });

  it("runs down the chain of calls", async () => {
    const innermost = deferred<AbortSignal>();
    const inner = await rigWith(async (ctx) => {
      innermost.resolve(ctx.signal);
      await aborted(ctx.signal);
      return {};
    });
    const outer = await rigWith((ctx) => clientOf(inner).login(CREDENTIALS, { parent: ctx }));
    const controller = new AbortController();
    const call = clientOf(outer).login(CREDENTIALS, { signal: controller.signal });
    const signal = await innermost.promise;
    controller.abort();
    await expect(call).rejects.toMatchObject({ kind: "cancelled" });
    await until("the inner handler's signal", () => signal.aborted);
  });

  it("refuses to start when the signal has already aborted", async () => {
    const rig = await rigWith(async () => ({}));
    const signal = AbortSignal.abort();
    await expect(clientOf(rig).login(CREDENTIALS, { signal })).rejects.toMatchObject({
      kind: "cancelled",
    });
  });

  it("listens once to a signal that ends many calls, and ends them all", async () => {
    let begun = 0;
    const rig = await rigWith(async (ctx) => {
      begun += 1;
      await aborted(ctx.signal);
      return {};
    });
    const controller = new AbortController();
    const { signal } = controller;
    const client = clientOf(rig);
    const calls = Array.from({ length: 20 }, () => client.login(CREDENTIALS, { signal }));
    const ends = Promise.allSettled(calls);
    await until("every call to be served", () => begun === 20);
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    controller.abort();
    expect((await ends).every(({ status }) => status === "rejected")).toBe(true);
  });

  it("keeps no listener on a signal after the call", async () => {
    const rig = await rigWith(async () => ({}));
    const controller = new AbortController();
    let listening = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listening += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listening -= 1;
      remove(...args);
    };
    for (let i = 0; i < 20; i++) await clientOf(rig).login(CREDENTIALS, { signal });
    expect(listening).toBe(0);
  });
});
