/** A user's program, as a process of its own: submits, asks, logs in. */
import process from "node:process";
import { createClient, type NexusClient } from "@nexus/sdk";
import {
  type AppendOptions,
  type Appends,
  appendEntries,
  type ProofChecks,
  type ProofOptions,
  proveLeaves,
} from "../load/audit.ts";
import { type Backlog, type BacklogOptions, fillBacklog } from "../load/backlog.ts";
import {
  type DiscoverOptions,
  type DiscoveryLatency,
  discoverSteadily,
  type RegisterOptions,
  registerAgents,
} from "../load/discovery.ts";
import {
  JobStream,
  type JobStreamOptions,
  type StreamedJob,
  type TaskCount,
} from "../load/job-stream.ts";
import { type HashOptions, hashPasswords, type LoginOptions, logIn } from "../load/logins.ts";
import { IdleSessions, type SessionCount, type SessionsOptions } from "../load/sessions.ts";
import { createStateBucket } from "../load/state.ts";
import {
  readTaskTimes,
  type SteadyJobs,
  type SteadyJobsOptions,
  submitSteadily,
  type TaskTimes,
} from "../load/steady-jobs.ts";
import {
  type CheckOptions,
  checkTokens,
  type GrantOptions,
  type Grants,
  grantTokens,
  type TokenChecks,
} from "../load/tokens.ts";
import {
  type BareCipherOptions,
  createTransitKey,
  encryptBare,
  type TransitOptions,
  type TransitRate,
  useTransitKey,
} from "../load/transit.ts";
import type { SaturateResult } from "../pace.ts";
import { serveCommands } from "./command-channel.ts";

/** More than the default: a saturated system may take its time, and that is what is measured. */
const TIMEOUT_MS = 60_000;

/** Who the client is. */
export interface ClientIdentity {
  readonly gateway: string;
  readonly namespace: string;
  readonly principalId: string;
  readonly password: string;
}

/** What the client process can be told. */
export interface ClientCommands {
  connect(identity: ClientIdentity): Promise<void>;
  /** Begins to keep jobs under way. */
  startJobs(options: JobStreamOptions): Promise<void>;
  countTasks(args: null): Promise<TaskCount>;
  /** Lets the jobs under way end. */
  stopJobs(args: null): Promise<readonly StreamedJob[]>;
  fillBacklog(options: BacklogOptions): Promise<Backlog>;
  submitSteadily(options: SteadyJobsOptions): Promise<SteadyJobs>;
  readTaskTimes(jobIds: readonly string[]): Promise<readonly TaskTimes[]>;
  registerAgents(options: RegisterOptions): Promise<number>;
  discoverSteadily(options: DiscoverOptions): Promise<DiscoveryLatency>;
  createStateBucket(bucket: string): Promise<void>;
  /** Returns how many were opened a second. */
  openSessions(options: SessionsOptions): Promise<number>;
  countSessions(args: null): Promise<SessionCount>;
  closeSessions(args: null): Promise<void>;
  grantTokens(options: GrantOptions): Promise<Grants>;
  checkTokens(options: CheckOptions): Promise<TokenChecks>;
  logIn(options: LoginOptions): Promise<SaturateResult>;
  hashPasswords(options: HashOptions): Promise<SaturateResult>;
  /** Returns the name of the new key. */
  createTransitKey(args: null): Promise<string>;
  useTransitKey(options: TransitOptions): Promise<TransitRate>;
  encryptBare(options: BareCipherOptions): Promise<number>;
  appendEntries(options: AppendOptions): Promise<Appends>;
  proveLeaves(options: ProofOptions): Promise<ProofChecks>;
  /** CPU seconds of this process since its start. */
  cpuSeconds(args: null): Promise<number>;
}

let client: NexusClient | undefined;
let stream: JobStream | undefined;
let sessions: IdleSessions | undefined;

function connected(): NexusClient {
  if (client === undefined) throw new Error("the client was not connected");
  return client;
}

function streaming(): JobStream {
  if (stream === undefined) throw new Error("no jobs were started");
  return stream;
}

serveCommands<ClientCommands>({
  connect: async ({ gateway, ...user }) => {
    const credentials = { kind: "password", ...user } as const;
    client = createClient({ gateway, credentials, timeoutMs: TIMEOUT_MS });
    await client.credentials?.token();
  },
  startJobs: async (options) => {
    stream = new JobStream(connected(), options);
  },
  countTasks: async () => streaming().count(),
  stopJobs: () => streaming().stop(),
  fillBacklog: (options) => fillBacklog(connected(), options),
  submitSteadily: (options) => submitSteadily(connected(), options),
  readTaskTimes: (jobIds) => readTaskTimes(connected(), jobIds),
  registerAgents: (options) => registerAgents(connected(), options),
  discoverSteadily: (options) => discoverSteadily(connected(), options),
  createStateBucket: (bucket) => createStateBucket(connected(), bucket),
  openSessions: (options) => {
    sessions = new IdleSessions(options.gateway);
    return sessions.open(connected(), options);
  },
  countSessions: async () => sessions?.count() ?? { alive: 0, failure: undefined },
  closeSessions: async () => {
    await sessions?.close();
    sessions = undefined;
  },
  grantTokens: (options) => grantTokens(connected(), options),
  checkTokens: (options) => checkTokens(connected(), options),
  logIn: (options) => logIn(connected(), options),
  hashPasswords,
  createTransitKey: () => createTransitKey(connected()),
  useTransitKey: (options) => useTransitKey(connected(), options),
  encryptBare,
  appendEntries: (options) => appendEntries(connected(), options),
  proveLeaves: (options) => proveLeaves(connected(), options),
  cpuSeconds: async () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
});
