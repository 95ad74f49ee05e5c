import { AgentSessionService } from "@nexus/proto/mesh";
import { AuthService } from "@nexus/proto/vault";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { type CallContext, createRpcClient } from "../src/index.ts";
import { AGED_ENDS_MIN } from "../src/limits.ts";
import { authHandlers, sessionHandlers } from "./_handlers.ts";
import { startRig } from "./_harness.ts";
import { aborted, deferred, drainAll, until } from "./_wait.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const GRACE_MS = 15_000;
/** Streams of one connection that end in three looks. */
const MANY = 2 * AGED_ENDS_MIN + 1;

type Watch = (ctx: CallContext) => AsyncIterable<{ revision?: bigint }>;

/** A server with one open stream, whose first message has arrived. */
async function rigWithOpenStream(watch: Watch, drainLingerMs = 500) {
  const handlers = authHandlers({ watchRevocations: (_request, ctx) => watch(ctx) });
  const rig = await startRig((server) => server.add(AuthService, handlers), {
    limits: { drainLingerMs },
  });
  const client = createRpcClient(AuthService, rig.channel);
  const stream = client.watchRevocations({}, { token: rig.verifier.token("ann") });
  const responses = stream[Symbol.asyncIterator]();
  await responses.next();
  return { rig, rest: drainAll({ [Symbol.asyncIterator]: () => responses }) };
}

describe("closing a server", () => {
  it("ends open streams with SERVER_DRAINING, long before the grace is over", async () => {
    const { rig, rest } = await rigWithOpenStream(async function* (ctx) {
      yield { revision: 1n };
      await aborted(ctx.signal);
    });
    const startedAt = Date.now();
    await rig.server.close(GRACE_MS);
    expect(Date.now() - startedAt).toBeLessThan(GRACE_MS);
    const { error } = await rest;
    expect(error).toMatchObject({ kind: "unavailable", reason: "SERVER_DRAINING" });
    rig.channel.close();
  });

  it("lets a handler say goodbye after its signal", async () => {
    const { rig, rest } = await rigWithOpenStream(async function* (ctx) {
      yield { revision: 1n };
      await aborted(ctx.signal);
      yield { revision: 99n };
    });
    await rig.server.close(GRACE_MS);
    const { items, error } = await rest;
    expect(items).toMatchObject([{ revision: 99n }]);
    expect(error).toMatchObject({ reason: "SERVER_DRAINING" });
    rig.channel.close();
  });

  it("does not wait for a handler that ignores its signal", async () => {
    const { rig, rest } = await rigWithOpenStream(async function* () {
      yield { revision: 1n };
      await new Promise(() => undefined);
    }, 100);
    const startedAt = Date.now();
    await rig.server.close(GRACE_MS);
    expect(Date.now() - startedAt).toBeLessThan(GRACE_MS);
    expect((await rest).error).toMatchObject({ reason: "SERVER_DRAINING" });
    rig.channel.close();
  });

  it("is over after the grace even when nobody reads the stream", async () => {
    const handlers = sessionHandlers(async function* () {
      for (;;) yield { welcome: { resumeToken: "x".repeat(64 * 1024) } };
    });
    const rig = await startRig((server) => server.add(AgentSessionService, handlers));
    const client = createRpcClient(AgentSessionService, rig.channel);
    const requests = (async function* () {
      yield { heartbeat: {} };
      await new Promise(() => undefined);
    })();
    const token = rig.verifier.token("ann");
    await client.connect(requests, { token })[Symbol.asyncIterator]().next();
    const startedAt = Date.now();
    await rig.server.close(400);
    expect(Date.now() - startedAt).toBeLessThan(15_000);
    rig.channel.close();
  });

  it("lets unary calls finish", async () => {
    const started = deferred();
    const go = deferred();
    const handlers = authHandlers({
      async login() {
        started.resolve();
        await go.promise;
        return { tokens: { accessToken: "done" } };
      },
    });
    const rig = await startRig((server) => server.add(AuthService, handlers));
    const call = createRpcClient(AuthService, rig.channel).login(CREDENTIALS);
    await started.promise;
    const closing = rig.server.close(GRACE_MS);
    go.resolve();
    expect((await call).tokens?.accessToken).toBe("done");
    await closing;
    rig.channel.close();
  });

  it("ends a unary call that outlives the grace with SERVER_DRAINING", async () => {
    const started = deferred();
    let reason: unknown;
    const handlers = authHandlers({
      async login(_request, ctx) {
        started.resolve();
        await aborted(ctx.signal);
        reason = ctx.signal.reason;
        return {};
      },
    });
    const rig = await startRig((server) => server.add(AuthService, handlers));
    const call = createRpcClient(AuthService, rig.channel).login(CREDENTIALS);
    const outcome = call.catch((error: unknown) => error);
    await started.promise;
    await rig.server.close(100);
    expect(await outcome).toMatchObject({ kind: "unavailable", reason: "SERVER_DRAINING" });
    await until("the handler's signal", () => reason !== undefined);
    rig.channel.close();
  });

  it("refuses calls afterwards, and may be closed twice", async () => {
    const handlers = authHandlers({ login: async () => ({}) });
    const rig = await startRig((server) => server.add(AuthService, handlers));
    const client = createRpcClient(AuthService, rig.channel);
    await client.login(CREDENTIALS);
    await Promise.all([rig.server.close(100), rig.server.close(100)]);
    await expect(client.login(CREDENTIALS)).rejects.toMatchObject({ kind: "unavailable" });
    rig.channel.close();
  });
});

describe("an aged connection", () => {
  it("ends its streams in order and serves the next call on a new one", async () => {
    const handlers = authHandlers({
      async *watchRevocations(_request, ctx) {
        yield { revision: 1n };
        await aborted(ctx.signal);
      },
      login: async (_request, ctx) => ({ tokens: { accessToken: ctx.peer } }),
    });
    const rig = await startRig((server) => server.add(AuthService, handlers), {
      limits: { maxConnectionAgeMs: 300, maxConnectionAgeGraceMs: 20_000 },
    });
    const client = createRpcClient(AuthService, rig.channel);
    const token = rig.verifier.token("ann");
    const before = await client.login(CREDENTIALS);
    const { items, error } = await drainAll(client.watchRevocations({}, { token }));
    expect(items.length).toBe(1);
    expect(error).toMatchObject({ kind: "unavailable", reason: "CONNECTION_AGED" });
    const after = await client.login(CREDENTIALS);
    expect(after.tokens?.accessToken).not.toBe(before.tokens?.accessToken);
    await rig.close();
  });

  it("ends many streams a share at a time", async () => {
    const open = { now: 0 };
    const ends: number[] = [];
    const handlers = authHandlers({
      async *watchRevocations(_request, ctx) {
        yield { revision: 1n };
        open.now += 1;
        await aborted(ctx.signal);
        ends.push(performance.now());
      },
    });
    const rig = await startRig((server) => server.add(AuthService, handlers), {
      limits: { maxConnectionAgeMs: 2_000, maxConnectionAgeGraceMs: 20_000, drainLingerMs: 10 },
    });
    const client = createRpcClient(AuthService, rig.channel);
    const token = rig.verifier.token("ann");
    const all = Array.from({ length: MANY }, () =>
      drainAll(client.watchRevocations({}, { token })),
    );
    await until("all streams to be open", () => open.now === MANY);
    const ended = await Promise.all(all);
    const reasons = new Set(ended.map(({ error }) => NexusError.from(error).reason));
    expect([...reasons]).toEqual(["CONNECTION_AGED"]);
    const lateMs = (at: number) => (ends[at] ?? 0) - (ends[at - 1] ?? 0);
    expect([lateMs(AGED_ENDS_MIN), lateMs(2 * AGED_ENDS_MIN)].every((ms) => ms > 100)).toBe(true);
    await rig.close();
  });
});
