/** Commands that follow something, against a gateway whose streams break. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { create } from "@bufbuild/protobuf";
import {
  MessagingService,
  StateService,
  type TailTopicResponse,
  TailTopicResponseSchema,
  type WatchBucketResponse,
  WatchBucketResponseSchema,
} from "@nexus/proto/mesh";
import {
  JobService,
  TaskState,
  type WatchTaskResponse,
  WatchTaskResponseSchema,
} from "@nexus/proto/orchestrator";
import {
  AlertSchema,
  AnomalyService,
  type WatchAlertsResponse,
  WatchAlertsResponseSchema,
} from "@nexus/proto/vault";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { createTempFolder, createTestIdentity, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run } from "../src/program.ts";
import { createFakeTerminal } from "../src/terminal.fake.ts";
import { only } from "./_only.ts";

/** What one stream sends, and what it breaks with then; without an error it stays. */
interface Script<M> {
  readonly messages?: readonly M[];
  readonly error?: NexusError;
}

/** Streams in the order of their scripts, and where each was asked to begin. */
class Scripts<M> {
  #scripts: readonly Script<M>[] = [];
  places: (bigint | undefined)[] = [];

  write(...scripts: Script<M>[]): void {
    this.#scripts = scripts;
    this.places = [];
  }

  async *play(place: bigint | undefined, signal: AbortSignal): AsyncGenerator<M, void> {
    const { messages = [], error } = this.#scripts[this.places.push(place) - 1] ?? {};
    yield* messages;
    if (error !== undefined) throw error;
    await once(signal, "abort");
  }
}

const AGED = error("unavailable", "CONNECTION_AGED");
const GONE = error("unavailable", "UNAVAILABLE");
const ENDED = error("unauthenticated", "TOKEN_EXPIRED");

const identity = createTestIdentity();
const [tails, buckets, alerts, tasks] = [
  new Scripts<TailTopicResponse>(),
  new Scripts<WatchBucketResponse>(),
  new Scripts<WatchAlertsResponse>(),
  new Scripts<WatchTaskResponse>(),
];
let folder: TempFolder;
let env: NodeJS.ProcessEnv;
let close: () => Promise<void>;

beforeAll(async () => {
  folder = await createTempFolder("nexus-cli-follow");
  const server = createRpcServer({
    service: "gateway",
    host: "127.0.0.1",
    port: 0,
    logger: createSilentLogger(),
    metrics: createMetrics("gateway"),
    verifier: identity.verifier,
  });
  server.add(
    MessagingService,
    only(MessagingService, {
      tailTopic: (_request, { signal }) => tails.play(undefined, signal),
    }),
  );
  server.add(
    StateService,
    only(StateService, {
      watchBucket: ({ resumeRevision }, { signal }) => buckets.play(resumeRevision, signal),
    }),
  );
  server.add(
    AnomalyService,
    only(AnomalyService, {
      watchAlerts: ({ resumeRevision }, { signal }) => alerts.play(resumeRevision, signal),
    }),
  );
  server.add(
    JobService,
    only(JobService, {
      watchTask: ({ afterSequence }, { signal }) => tasks.play(afterSequence, signal),
    }),
  );
  const { address } = await server.listen();
  close = () => server.close(0);
  const token = await identity.token({ sub: "ada" });
  env = { NEXUS_CONFIG_DIR: folder.path, NEXUS_GATEWAY: address, NEXUS_TOKEN: token };
});

afterAll(async () => {
  await close();
  await folder.remove();
});

beforeEach(() => {
  for (const one of [tails, buckets, alerts, tasks]) one.write();
});

/** Runs a command until it has printed this, then interrupts it. */
async function followUntil(text: string, ...argv: string[]) {
  const { terminal, stdout, stderr } = createFakeTerminal();
  const interrupted = new AbortController();
  const ended = run({ argv, env, terminal, signal: interrupted.signal });
  await waitFor(() => stdout().includes(text), { what: `${text} to be printed` });
  interrupted.abort();
  return { code: await ended, stdout: stdout(), stderr: stderr() };
}

/** Runs a command that ends by itself. */
async function nexus(...argv: string[]) {
  const { terminal, stdout, stderr } = createFakeTerminal();
  const code = await run({ argv, env, terminal, signal: new AbortController().signal });
  return { code, stdout: stdout(), stderr: stderr() };
}

describe("commands that follow something", () => {
  it("go on with a bucket behind the last revision, and say nothing of a planned end", async () => {
    buckets.write(
      { messages: [keys(0n, "a"), keys(7n, "b")], error: AGED },
      { messages: [keys(9n)], error: ENDED },
      { messages: [keys(12n, "c")] },
    );
    const outcome = await followUntil("c\n", "state", "watch", "plans", "-o", "name");
    expect(outcome).toEqual({ code: 0, stdout: "a\nb\nc\n", stderr: expect.any(String) });
    expect(buckets.places).toEqual([undefined, 7n, 9n]);
    expect(outcome.stderr).toBe(
      "... TOKEN_EXPIRED (TOKEN_EXPIRED); trying again\n... connected again\n",
    );
  });

  it("say that all keys come again when the first stream broke among them", async () => {
    buckets.write({ messages: [keys(0n, "a")], error: AGED }, { messages: [keys(5n, "a", "b")] });
    const { stdout, stderr } = await followUntil("b\n", "state", "watch", "plans", "-o", "name");
    expect([stdout, stderr]).toEqual(["a\na\nb\n", "... connected again; all keys follow again\n"]);
    expect(buckets.places).toEqual([undefined, undefined]);
  });

  it("go on with alerts behind the last revision", async () => {
    alerts.write(
      { messages: [alertsAt(3n)], error: GONE },
      { error: GONE },
      { messages: [alertsAt(4n, "alert_4")] },
    );
    const { code, stderr } = await followUntil("alert_4", "alerts", "watch");
    expect(code).toBe(0);
    expect(alerts.places).toEqual([-1n, 3n, 3n]);
    expect(stderr).toBe("... UNAVAILABLE (UNAVAILABLE); trying again\n... connected again\n");
  });

  it("go on with a task behind its last chunk when the token ends, and say so", async () => {
    tasks.write(
      { messages: [put(1n, "do ")], error: ENDED },
      { messages: [put(2n, "re"), done()] },
    );
    const { code, stdout, stderr } = await nexus("tasks", "watch", "task_1");
    expect([code, stdout, tasks.places]).toEqual([0, "do re", [0n, 1n]]);
    expect(stderr).toContain(
      "... TOKEN_EXPIRED (TOKEN_EXPIRED); trying again\n... connected again\n",
    );
  });

  it("say that messages to topics may be missing", async () => {
    tails.write({ messages: [published("one")], error: AGED }, { messages: [published("two")] });
    const { code, stdout, stderr } = await followUntil("two", "mesh", "tail", "-o", "name");
    expect([code, stdout]).toEqual([0, "one\ntwo\n"]);
    expect(stderr).toBe("... connected again; messages may be missing\n");
  });

  it("give up at the start, and on what another stream does not mend", async () => {
    alerts.write({ error: GONE });
    expect(await nexus("alerts", "watch")).toMatchObject({ code: 5 });
    expect(alerts.places).toHaveLength(1);
    alerts.write({ messages: [alertsAt(3n)], error: error("forbidden", "SCOPE_MISSING") });
    expect(await nexus("alerts", "watch")).toMatchObject({ code: 4 });
    alerts.write({ messages: [alertsAt(3n)], error: ENDED }, { error: ENDED });
    expect(await nexus("alerts", "watch")).toMatchObject({ code: 4 });
    expect(alerts.places).toHaveLength(2);
  });

  it("give up at the start on a gateway that takes the connection, is silent and hangs up", async () => {
    const silent = createServer((socket) => {
      socket.on("error", () => undefined);
      setTimeout(() => socket.destroy(), 2_200);
    });
    await once(silent.listen(0, "127.0.0.1"), "listening");
    const { port } = silent.address() as AddressInfo;
    const { code, stderr } = await nexus("alerts", "watch", "--gateway", `127.0.0.1:${port}`);
    expect([code, stderr]).toEqual([5, expect.not.stringContaining("trying again")]);
    await new Promise((resolve) => silent.close(resolve));
  });
});

function error(kind: NexusError["kind"], reason: string): NexusError {
  return new NexusError({ kind, reason, message: reason });
}

function keys(revision: bigint, ...names: string[]): WatchBucketResponse {
  return create(WatchBucketResponseSchema, { revision, entries: names.map((key) => ({ key })) });
}

function alertsAt(revision: bigint, ...ids: string[]): WatchAlertsResponse {
  const shown = ids.map((alertId) => create(AlertSchema, { alertId }));
  return create(WatchAlertsResponseSchema, { revision, alerts: shown });
}

function published(topic: string): TailTopicResponse {
  return create(TailTopicResponseSchema, { messages: [{ topic }] });
}

function put(sequence: bigint, text: string): WatchTaskResponse {
  const value = { fence: 3n, sequence, data: Buffer.from(text) };
  return create(WatchTaskResponseSchema, { events: [{ event: { case: "chunk", value } }] });
}

function done(): WatchTaskResponse {
  const value = { state: TaskState.SUCCEEDED };
  return create(WatchTaskResponseSchema, { events: [{ event: { case: "standing", value } }] });
}
