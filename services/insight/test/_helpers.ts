/** Insight with a database of its own, clients of it, and the reference that its answers are held to. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createPool, type Pool } from "@nexus/postgres";
import type { AttemptOutcomeSchema, OutcomeGroupSchema } from "@nexus/proto/common";
import { AnalyticsService, MetricsService, type Performance } from "@nexus/proto/insight";
import { createRpcChannel, createRpcClient, type RpcClient, WireWriter } from "@nexus/rpc";
import type { NexusError } from "@nexus/shared";
import {
  createTestDatabase,
  createTestIdentity,
  type TestIdentity,
  type TestTokenInit,
  testConfig,
  waitFor,
} from "@nexus/testkit";
import { expect } from "vitest";
import { schema } from "../src/config.ts";
import { startServer } from "../src/server.ts";

/** Clients that speak for one principal. */
export interface Clients {
  readonly metrics: RpcClient<typeof MetricsService>;
  readonly analytics: RpcClient<typeof AnalyticsService>;
}

/** One replica. */
export interface Replica {
  readonly opsAddress: string;
  as(principal: TestTokenInit): Clients;
  /** A user of namespace default with every scope. */
  readonly user: Clients;
  /** A service, which records outcomes of any namespace. */
  readonly service: Clients;
  /** Records outcomes of a namespace on a stream of their own; returns how many were stored. */
  record(namespace: string, outcomes: readonly OutcomeInit[]): Promise<number>;
}

/** An outcome without its namespace. */
export type OutcomeInit = MessageInitShape<typeof AttemptOutcomeSchema>;

/** A database and what runs on it. */
export interface Bench {
  /** Reaches the tables past the service. */
  readonly pool: Pool;
  start(): Promise<Replica>;
  /** Ends every connection that the service holds. */
  cutConnections(): Promise<void>;
  close(): Promise<void>;
}

/** Creates a bench. Close it in afterAll. */
export async function createBench(): Promise<Bench> {
  const database = await createTestDatabase("insight");
  const identity = createTestIdentity();
  const pool = createPool({
    url: database.url,
    max: 2,
    applicationName: "test",
    schema: "insight",
  });
  const closers: (() => Promise<void>)[] = [];
  return {
    pool,
    start: async () => {
      const { replica, close } = await startReplica(database.url, identity);
      closers.push(close);
      return replica;
    },
    cutConnections: async () => {
      const admin = createPool({
        url: database.adminUrl,
        max: 1,
        applicationName: "test",
        schema: "public",
      });
      await admin.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nexus-insight%'",
      );
      await admin.close();
    },
    close: async () => {
      for (const close of closers) await close();
      await pool.close();
      await database.close();
    },
  };
}

const ROLLUP_INTERVAL_MS = 250;

async function startReplica(databaseUrl: string, identity: TestIdentity) {
  const service = await startServer(
    testConfig(schema, {
      databaseUrl,
      rollupIntervalMs: ROLLUP_INTERVAL_MS,
      // There is no vault here.
      auditWitness: false,
    }),
    {
      verifier: identity.verifier,
      tokens: identity.tokens({ sub: "insight", kind: "service" }),
    },
  );
  const channel = createRpcChannel({ address: service.address });
  const as = (principal: TestTokenInit): Clients => {
    const tokens = identity.tokens(principal);
    return {
      metrics: createRpcClient(MetricsService, channel, { tokens }),
      analytics: createRpcClient(AnalyticsService, channel, { tokens }),
    };
  };
  const orchestrator = as({ sub: "orchestrator", kind: "service" });
  const replica: Replica = {
    opsAddress: service.opsAddress,
    as,
    user: as({ sub: "ada" }),
    service: orchestrator,
    record: async (namespace, outcomes) => {
      const groups = [groupOf(1, outcomes, namespace)];
      return (await orchestrator.metrics.recordOutcomes({ stream: newStream(), groups })).stored;
    },
  };
  const close = async () => {
    channel.close();
    await service[Symbol.asyncDispose]();
  };
  return { replica, close };
}

/** One attempt, in plain numbers. */
export interface Attempt {
  readonly ageMs: number;
  readonly jobId: string;
  readonly agentId: string;
  readonly capability: string;
  readonly success: boolean;
  readonly reason: string;
  readonly queueUs: number;
  readonly runUs: number;
}

let counter = 0;

/** A stream nobody used before. */
export function newStream(): string {
  counter += 1;
  return `orchestrator-1/${counter}`;
}

/** A group of outcomes of one namespace. */
export function groupOf(
  position: number,
  outcomes: readonly OutcomeInit[],
  namespace = "default",
): MessageInitShape<typeof OutcomeGroupSchema> {
  return {
    position: BigInt(position),
    outcomes: outcomes.map((outcome) => Object.assign({ namespace }, outcome)),
  };
}

/** The same outcomes as a table. */
export function tableOf(
  position: number,
  attempts: readonly Attempt[],
): MessageInitShape<typeof OutcomeGroupSchema> {
  const writer = new WireWriter();
  const jobIds = [...new Set(attempts.map(({ jobId }) => jobId))];
  for (const [n, { jobId, queueUs, runUs }] of attempts.entries()) {
    for (const number of [n, jobIds.indexOf(jobId), queueUs + 1, runUs + 1, 0]) {
      writer.varint(number);
    }
  }
  const kinds = attempts.map(({ agentId, capability, success, reason }, n) => {
    const kind = { namespace: "default", agentId, capability, success, reason };
    return { ...kind, lastTaskId: `task-${n}` };
  });
  const endTime = timestampFromMs(Date.now() - Math.round(attempts[0]?.ageMs ?? 0));
  const table = { endTime, kinds, jobIds, attempts: writer.take() };
  return { position: BigInt(position), table };
}

/** The outcome of an attempt. */
export function outcomeOf(attempt: Partial<Attempt> = {}): OutcomeInit {
  counter += 1;
  return {
    jobId: attempt.jobId ?? "job-1",
    taskId: `task-${counter}`,
    fence: BigInt(counter),
    capability: attempt.capability ?? "text.analyse",
    agentId: attempt.agentId ?? "agent-1",
    attempt: 1,
    success: attempt.success ?? true,
    reason: attempt.reason ?? "",
    queueTime: durationOf(attempt.queueUs ?? 1_000),
    runTime: durationOf(attempt.runUs ?? 2_000),
    endTime: timestampFromMs(Date.now() - Math.round(attempt.ageMs ?? 0)),
  };
}

function durationOf(us: number) {
  return { seconds: BigInt(Math.floor(us / 1_000_000)), nanos: (us % 1_000_000) * 1_000 };
}

/** Waits until all that is stored is in the rollups. */
export async function rolledUp(pool: Pool): Promise<void> {
  await waitFor(
    async () => {
      const { rows } = await pool.query<{ done: boolean }>(
        `SELECT rolled_through >= coalesce((SELECT max(sequence) FROM attempt_packs), 0) AS done FROM rollup_state`,
      );
      return rows[0]?.done;
    },
    { what: "the rollups" },
  );
}

/** Holds an answer to the attempts it is about: counts exactly, quantiles to 1 %. */
export function expectPerformance(
  performance: Performance | undefined,
  attempts: readonly Attempt[],
): void {
  const succeeded = attempts.filter(({ success }) => success);
  expect(performance).toMatchObject({
    attempts: BigInt(attempts.length),
    succeeded: BigInt(succeeded.length),
    failed: BigInt(attempts.length - succeeded.length),
  });
  expect(performance?.successRate).toBeCloseTo(succeeded.length / attempts.length, 12);
  const failures = new Map<string, bigint>();
  for (const { success, reason } of attempts) {
    if (!success) failures.set(reason, (failures.get(reason) ?? 0n) + 1n);
  }
  expect(performance?.failuresByReason).toEqual(Object.fromEntries(failures));
  expectLatency(
    performance?.queueTime,
    attempts.map(({ queueUs }) => queueUs),
  );
  expectLatency(
    performance?.runTime,
    succeeded.map(({ runUs }) => runUs),
  );
}

/** What the contract promises of a quantile. */
const QUANTILE_ERROR_MAX = 0.01;

function expectLatency(latency: Performance["queueTime"], values: readonly number[]): void {
  expect(latency?.count).toBe(BigInt(values.length));
  const sorted = [...values].sort((a, b) => a - b);
  for (const [name, share] of [
    ["p50", 0.5],
    ["p95", 0.95],
    ["p99", 0.99],
  ] as const) {
    const exact = sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
    const error = Math.abs(microsOf(latency?.[name]) - exact) / exact;
    expect(error, `${name} of ${exact} us`).toBeLessThanOrEqual(QUANTILE_ERROR_MAX);
  }
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  expect(Math.abs(microsOf(latency?.mean) - mean)).toBeLessThanOrEqual(1);
  expect(microsOf(latency?.max)).toBe(sorted.at(-1));
}

function microsOf(duration: { seconds: bigint; nanos: number } | undefined): number {
  return Number(duration?.seconds ?? Number.NaN) * 1_000_000 + (duration?.nanos ?? 0) / 1_000;
}

/** Expects a call to fail with a kind and a reason. */
export async function expectError(
  call: Promise<unknown>,
  kind: NexusError["kind"],
  reason: string,
): Promise<NexusError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown as NexusError,
  );
  expect(error, "the call succeeded").toBeDefined();
  expect({ kind: error?.kind, reason: error?.reason }).toEqual({ kind, reason });
  return error as NexusError;
}
