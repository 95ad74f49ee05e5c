import { AgentSessionService, type ConnectRequest } from "@nexus/proto/mesh";
import { AuthService } from "@nexus/proto/vault";
import { createAsyncQueue, NexusError } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { type CallContext, createRpcClient } from "../src/index.ts";
import { authHandlers, sessionHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";
import { aborted, deferred, drainAll, until } from "./_wait.ts";

const rigs: Rig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close();
});

/** Holds once `count` has moved and then kept its value for twenty looks. */
function standsStill(count: () => number): () => boolean {
  let last = 0;
  let same = 0;
  return () => {
    same = count() === last ? same + 1 : 0;
    last = count();
    return last > 0 && same >= 20;
  };
}

type Watch = (ctx: CallContext) => AsyncIterable<{ revision?: bigint; revocations?: object[] }>;
type Connect = (requests: AsyncIterable<ConnectRequest>, ctx: CallContext) => AsyncIterable<object>;

async function watchRig(watch: Watch) {
  const handlers = authHandlers({ watchRevocations: (_request, ctx) => watch(ctx) });
  const rig = await startRig((server) => server.add(AuthService, handlers));
  rigs.push(rig);
  const token = rig.verifier.token("ann");
  return { rig, token, client: createRpcClient(AuthService, rig.channel) };
}

async function connectRig(connect: Connect) {
  const rig = await startRig((server) => server.add(AgentSessionService, sessionHandlers(connect)));
  rigs.push(rig);
  const token = rig.verifier.token("ann");
  return { rig, token, client: createRpcClient(AgentSessionService, rig.channel) };
}

describe("a server stream", () => {
  it("delivers everything in order and then ends", async () => {
    const { client, token } = await watchRig(async function* () {
      for (let i = 0n; i < 1_000n; i++) yield { revision: i };
    });
    const { items, error } = await drainAll(client.watchRevocations({}, { token }));
    expect(error).toBeUndefined();
    expect(items.map(({ revision }) => revision)).toEqual(
      Array.from({ length: 1_000 }, (_, i) => BigInt(i)),
    );
  });

  it("fails to its reader, and to nobody else, when its channel was closed before it began", async () => {
    const { rig, client, token } = await watchRig(async function* () {
      yield { revision: 1n };
    });
    const stream = client.watchRevocations({}, { token });
    rig.channel.close();
    const { items, error } = await drainAll(stream);
    expect(items).toEqual([]);
    expect(String(error)).toContain("shut down");
  });

  it("delivers what came before an error, then the error", async () => {
    const { client, token } = await watchRig(async function* () {
      yield { revision: 1n };
      yield { revision: 2n };
      throw new NexusError({ kind: "out_of_range", reason: "RESUME_GAP", message: "Too old." });
    });
    const { items, error } = await drainAll(client.watchRevocations({}, { token }));
    expect(items.length).toBe(2);
    expect(error).toMatchObject({
      kind: "out_of_range",
      reason: "RESUME_GAP",
      message: "Too old.",
    });
  });

  it("hides what a generator throws that is not a NexusError", async () => {
    const { client, token } = await watchRig(async function* () {
      yield { revision: 1n };
      throw new Error("select * from secrets");
    });
    const { error } = await drainAll(client.watchRevocations({}, { token }));
    expect(error).toMatchObject({ kind: "internal", message: "An internal error occurred." });
  });

  it("runs the generator's finally and aborts its signal when the client leaves", async () => {
    const cleaned = deferred<unknown>();
    const { client, token } = await watchRig(async function* (ctx) {
      try {
        for (let i = 0n; ; i++) yield { revision: i };
      } finally {
        cleaned.resolve(ctx.signal.reason);
      }
    });
    for await (const { revision } of client.watchRevocations({}, { token })) {
      if (revision === 5n) break;
    }
    expect(await cleaned.promise).toMatchObject({ kind: "cancelled" });
  });

  it("ends a generator that waits for its signal when the client leaves", async () => {
    const left = deferred();
    const { client, token } = await watchRig(async function* (ctx) {
      yield { revision: 1n };
      await aborted(ctx.signal);
      left.resolve();
    });
    for await (const _ of client.watchRevocations({}, { token })) break;
    await left.promise;
  });
});

describe("a bidirectional stream", () => {
  it("answers message by message", async () => {
    const { client, token } = await connectRig(async function* (requests) {
      for await (const { heartbeat } of requests) {
        yield { welcome: { sessionId: `${heartbeat?.busySlots}` } };
      }
    });
    const outgoing = createAsyncQueue<object>({ max: 8 });
    const responses = client.connect(outgoing, { token })[Symbol.asyncIterator]();
    for (let i = 0; i < 50; i++) {
      outgoing.push({ heartbeat: { busySlots: i } });
      expect((await responses.next()).value?.welcome?.sessionId).toBe(`${i}`);
    }
    outgoing.end();
    expect((await responses.next()).done).toBe(true);
  });

  it("checks every message against the contract", async () => {
    const { client, token } = await connectRig(async function* (requests) {
      for await (const { heartbeat } of requests) {
        yield { welcome: { sessionId: `${heartbeat?.busySlots}` } };
      }
    });
    const { items, error } = await drainAll(
      client.connect(
        (async function* () {
          yield { heartbeat: { busySlots: 1 } };
          yield { heartbeat: { busySlots: 5_000 } };
          await new Promise(() => undefined);
        })(),
        { token },
      ),
    );
    expect(items.length).toBe(1);
    expect(error).toMatchObject({ kind: "invalid", reason: "REQUEST_INVALID" });
    const [violation] = (error as NexusError).details.fieldViolations ?? [];
    expect(violation?.field).toBe("heartbeat.busy_slots");
  });

  it("produces no faster than a slow reader reads", async () => {
    const resumeToken = "x".repeat(64 * 1024);
    let produced = 0;
    const { client, token } = await connectRig(async function* () {
      for (; produced < 400; produced++) {
        yield { welcome: { resumeToken, epoch: BigInt(produced) } };
      }
    });
    const requests = createAsyncQueue<object>({ max: 1 });
    const responses = client.connect(requests, { token })[Symbol.asyncIterator]();
    await responses.next();
    await until(
      "the producer to stop",
      standsStill(() => produced),
    );
    // What is on its way fits in the writer's buffer, the HTTP/2 windows and the reader's sixteen messages.
    expect(produced).toBeLessThan(60);
    for (let i = 1n; i < 400n; i++) {
      expect((await responses.next()).value?.welcome?.epoch).toBe(i);
    }
    expect(produced).toBe(400);
  });

  it("lets a slow handler hold back a fast client", async () => {
    const data = new Uint8Array(64 * 1024);
    const go = deferred();
    let sent = 0;
    let received = 0;
    const { client, token } = await connectRig(async function* (requests) {
      await go.promise;
      for await (const _ of requests) received += 1;
      yield { drain: {} };
    });
    const responses = client.connect(
      (async function* () {
        for (; sent < 400; sent++) yield { sends: [{ messageId: "m", payload: { data } }] };
      })(),
      { token },
    );
    const done = drainAll(responses);
    await until(
      "the client to stop",
      standsStill(() => sent),
    );
    expect(sent).toBeLessThan(60);
    go.resolve();
    const { items, error } = await done;
    expect({ error, answers: items.length, received }).toEqual({
      error: undefined,
      answers: 1,
      received: 400,
    });
  });

  it("tells a client that left from one that has said all", async () => {
    const endings: unknown[] = [];
    const { client, token } = await connectRig(async function* (requests, ctx) {
      try {
        for await (const _ of requests) yield { drain: {} };
        endings.push("said all");
      } finally {
        endings.push(ctx.signal.reason);
      }
    });
    const leave = new AbortController();
    const requests = createAsyncQueue<object>({ max: 1 });
    const responses = client.connect(requests, { token, signal: leave.signal });
    requests.push({ heartbeat: {} });
    await responses[Symbol.asyncIterator]().next();
    leave.abort();
    await until("the handler to end", () => endings.length > 0);
    expect(endings).toMatchObject([{ kind: "cancelled" }]);
  });

  it("fails with the error of the client's own requests", async () => {
    const started = deferred();
    const gone = deferred();
    const { client, token } = await connectRig(async function* (requests, ctx) {
      ctx.signal.addEventListener("abort", () => gone.resolve());
      started.resolve();
      for await (const _ of requests) yield { drain: {} };
    });
    const { error } = await drainAll(
      client.connect(
        (async function* () {
          yield { heartbeat: {} };
          await started.promise;
          throw new RangeError("local");
        })(),
        { token },
      ),
    );
    expect(error).toBeInstanceOf(RangeError);
    await gone.promise;
  });

  it("closes the client's requests when the server ends the stream", async () => {
    const closed = deferred();
    const { client, token } = await connectRig(async function* () {
      yield { drain: {} };
    });
    const outgoing = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<IteratorResult<object>>(() => undefined),
        return: async () => {
          closed.resolve();
          return { value: undefined, done: true as const };
        },
      }),
    };
    const { items, error } = await drainAll(client.connect(outgoing, { token }));
    expect({ count: items.length, error }).toEqual({ count: 1, error: undefined });
    await closed.promise;
  });

  it("reports a refused token when it is read, not as an unhandled rejection", async () => {
    const { client } = await connectRig(async function* () {
      yield {};
    });
    const { error } = await drainAll(
      client.connect((async function* () {})(), { token: "forged" }),
    );
    expect(error).toMatchObject({ kind: "unauthenticated", reason: "TOKEN_INVALID" });
  });
});
