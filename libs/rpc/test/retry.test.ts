import { constants, createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { JobService } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import { createLogger, NexusError } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { type CallContext, createRpcChannel, createRpcClient } from "../src/index.ts";
import { authHandlers, jobHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const rigs: Rig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close();
});

/** A server whose methods fail with UNAVAILABLE a number of times; returns how often each was called. */
async function flaky(failures: number, retryAfterMs?: number) {
  const calls = { getJob: 0, login: 0 };
  const answer = async (name: keyof typeof calls) => {
    calls[name] += 1;
    if (calls[name] > failures) return {};
    const details = retryAfterMs === undefined ? {} : { retryAfterMs };
    throw new NexusError({ kind: "unavailable", reason: "NOT_READY", message: "Later.", details });
  };
  const rig = await startRig((server) =>
    server
      .add(JobService, jobHandlers({ getJob: () => answer("getJob") }))
      .add(AuthService, authHandlers({ login: () => answer("login") })),
  );
  rigs.push(rig);
  const token = rig.verifier.token("ann");
  return { calls, rig, token, jobs: createRpcClient(JobService, rig.channel) };
}

const JOB_ID = "job_0198a0000000700080000000000000aa";

describe("retry", () => {
  it("repeats an idempotent call that meets UNAVAILABLE", async () => {
    const { calls, jobs, token } = await flaky(2);
    await jobs.getJob({ jobId: JOB_ID }, { token });
    expect(calls.getJob).toBe(3);
  });

  it("gives up after four attempts with the server's own error", async () => {
    const { calls, jobs, token } = await flaky(100);
    await expect(jobs.getJob({ jobId: JOB_ID }, { token })).rejects.toMatchObject({
      reason: "NOT_READY",
    });
    expect(calls.getJob).toBe(4);
  });

  it("goes on while the call's time lasts, for a client that lives through restarts", async () => {
    const { calls, rig, token } = await flaky(6);
    const jobs = createRpcClient(JobService, rig.channel, {
      attemptsMax: Number.POSITIVE_INFINITY,
    });
    await jobs.getJob({ jobId: JOB_ID }, { token, timeoutMs: 30_000 });
    expect(calls.getJob).toBe(7);
  });

  it("never repeats a method that is not marked idempotent", async () => {
    const { calls, rig } = await flaky(1);
    const auth = createRpcClient(AuthService, rig.channel);
    await expect(auth.login(CREDENTIALS)).rejects.toMatchObject({ reason: "NOT_READY" });
    expect(calls.login).toBe(1);
  });

  it("does not wait beyond the deadline", async () => {
    const { calls, jobs, token } = await flaky(100, 60_000);
    const startedAt = Date.now();
    const failure = jobs.getJob({ jobId: JOB_ID }, { token, timeoutMs: 20_000 });
    await expect(failure).rejects.toMatchObject({ reason: "NOT_READY" });
    expect(Date.now() - startedAt).toBeLessThan(15_000);
    expect(calls.getJob).toBe(1);
  });

  it("waits as long as the server asks", async () => {
    const { jobs, token } = await flaky(1, 400);
    const startedAt = Date.now();
    await jobs.getJob({ jobId: JOB_ID }, { token });
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(390);
  });

  it.each(["own", "parent"] as const)("stops waiting when the %s signal aborts", async (which) => {
    const { calls, rig, token } = await flaky(100, 5_000);
    const cuts = { own: new AbortController(), parent: new AbortController() };
    // The line is written as the pause begins.
    const destination = { write: () => void setImmediate(() => cuts[which].abort()) };
    const logger = createLogger({ service: "test", level: "debug", destination });
    const jobs = createRpcClient(JobService, rig.channel, { logger });
    const parent = { deadlineAtMs: Date.now() + 60_000, signal: cuts.parent.signal } as CallContext;
    const startedAt = Date.now();
    const failure = jobs.getJob({ jobId: JOB_ID }, { token, parent, signal: cuts.own.signal });
    await expect(failure).rejects.toMatchObject({ kind: "cancelled" });
    expect(Date.now() - startedAt).toBeLessThan(4_500);
    expect(calls.getJob).toBe(1);
  });

  it("does not repeat other failures", async () => {
    let calls = 0;
    const rig = await startRig((server) =>
      server.add(
        JobService,
        jobHandlers({
          async getJob() {
            calls += 1;
            throw new NexusError({ kind: "not_found", reason: "JOB_NOT_FOUND", message: "No." });
          },
        }),
      ),
    );
    rigs.push(rig);
    const jobs = createRpcClient(JobService, rig.channel);
    const token = rig.verifier.token("ann");
    await expect(jobs.getJob({ jobId: JOB_ID }, { token })).rejects.toMatchObject({
      kind: "not_found",
    });
    expect(calls).toBe(1);
  });
});

describe("a call that is refused by what its token holds", () => {
  /** Tokens that hold these scopes, each newer one the next; the first call begins with the first. */
  async function refused(...scopes: (readonly string[])[]) {
    const rig = await startRig((server) =>
      server.add(JobService, jobHandlers({ getJob: async () => ({}) })),
    );
    rigs.push(rig);
    const [first = "", ...newer] = scopes.map((held) => rig.verifier.token("ann", held));
    let current = first;
    let asked = 0;
    const tokens = {
      token: async () => current,
      renewSince: () => {
        asked += 1;
        current = newer.shift() ?? current;
        return true;
      },
    };
    const jobs = createRpcClient(JobService, rig.channel, { tokens });
    return { jobs, first, asked: () => asked };
  }
  const READER = ["orchestrator:job:read"];

  it("is made once more with a newer token", async () => {
    const { jobs, asked } = await refused([], READER);
    await jobs.getJob({ jobId: JOB_ID });
    expect(asked()).toBe(1);
  });

  it("fails when that one holds no more, or when it brought a token itself", async () => {
    const { jobs, asked, first } = await refused([], [], READER);
    await expect(jobs.getJob({ jobId: JOB_ID })).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    expect(asked()).toBe(1);
    const own = jobs.getJob({ jobId: JOB_ID }, { token: first });
    await expect(own).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    expect(asked()).toBe(1);
  });
});

describe("a channel", () => {
  it("fails fast while nobody listens, and finds the server when it comes", async () => {
    const first = await startRig((server) =>
      server.add(AuthService, authHandlers({ login: async () => ({}) })),
    );
    const port = Number(first.address.split(":")[1]);
    const channel = createRpcChannel({ address: first.address });
    const auth = createRpcClient(AuthService, channel);
    await auth.login(CREDENTIALS);
    await first.close();
    await expect(auth.login(CREDENTIALS)).rejects.toMatchObject({ kind: "unavailable" });
    const second = await startRig(
      (server) => server.add(AuthService, authHandlers({ login: async () => ({}) })),
      { port },
    );
    const giveUpAt = Date.now() + 8_000;
    let isBack = false;
    while (!isBack && Date.now() < giveUpAt) {
      isBack = await auth.login(CREDENTIALS).then(
        () => true,
        () => false,
      );
      if (!isBack) await new Promise((resolve) => setTimeout(resolve, 25));
    }
    expect(isBack).toBe(true);
    channel.close();
    await second.close();
  });

  it("spreads calls over all addresses of a name", async () => {
    const peers = new Set<string>();
    const build = (name: string) =>
      startRig((server) =>
        server.add(
          AuthService,
          authHandlers({
            async login() {
              peers.add(name);
              return {};
            },
          }),
        ),
      );
    rigs.push(await build("one"), await build("two"));
    const address = `ipv4:${rigs.map((rig) => rig.address).join(",")}`;
    const channel = createRpcChannel({ address });
    const auth = createRpcClient(AuthService, channel);
    for (let i = 0; i < 20 && peers.size < 2; i++) await auth.login(CREDENTIALS);
    expect([...peers].sort()).toEqual(["one", "two"]);
    channel.close();
  });

  it.each([
    ["drops the connection", (stream: ServerHttp2Stream) => stream.session?.destroy()],
    [
      "resets the stream",
      (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR),
    ],
    ["cancels the stream", (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_CANCEL)],
  ])("calls a server that %s unavailable, and repeats what it may", async (_how, die) => {
    let arrived = 0;
    const dying = createServer().on("stream", (stream) => {
      arrived += 1;
      // The stream tells its own server about the reset as well, which is no news here.
      stream.on("error", () => undefined);
      die(stream);
    });
    await new Promise<void>((resolve) => dying.listen(0, "127.0.0.1", resolve));
    const { port } = dying.address() as AddressInfo;
    const channel = createRpcChannel({ address: `127.0.0.1:${port}` });
    const failure = createRpcClient(JobService, channel).getJob({ jobId: JOB_ID }, { token: "t" });
    await expect(failure).rejects.toMatchObject({ kind: "unavailable", reason: "UNAVAILABLE" });
    expect(arrived).toBeGreaterThan(1);
    channel.close();
    dying.close();
  });
});
