/** State: what agents share, from its stores to its service and its loops. */
import { randomBytes } from "node:crypto";
import type { Pool } from "@nexus/postgres";
import { StateService } from "@nexus/proto/mesh";
import { WatchRegister } from "../domain/state/bucket-watch.ts";
import { ChangeTails } from "../domain/state/change-tail.ts";
import { KeyMemory } from "../domain/state/key-memory.ts";
import type {
  ChangeGroup,
  CommitNotices,
  ReadStore,
  StateEvents,
} from "../domain/state/state-ports.ts";
import { StateQueue } from "../domain/state/state-queue.ts";
import { createKeySweep, sweepDropped, sweepLogs } from "../domain/state/sweep.ts";
import { TaskFence } from "../domain/state/task-fence.ts";
import { createStateEvents, createStateGauges } from "../events/state-events.ts";
import {
  createStateHandlers,
  createStateMethods,
  type StateMethods,
} from "../handlers/state/index.ts";
import { createStatePoll } from "../loops/state-poll.ts";
import { createBucketStore } from "../store/state-bucket-store.ts";
import { createReadStore } from "../store/state-read-store.ts";
import { createSweepStore } from "../store/state-sweep-store.ts";
import { createWriteStore, STATE_CHANNEL } from "../store/state-write-store.ts";
import type { Mesh } from "./mesh.ts";
import type { Parts } from "./parts.ts";

/** How long a change of another replica may go unnoticed while its bus is away. */
const POLL_ASKING_MS = 20;
/** While others tell of their changes, or nobody watches, it is looked this often whether that is still so. */
const POLL_IDLE_MS = 250;
/** What replicas tell each other: buckets in which something was committed, or that were deleted. */
const NEWS = "state";
const SOURCE_BYTES = 6;
/** The contract promises a sign of life every 5 s. */
const ALIVE_MS = 4_000;
const SWEEP_INTERVAL_MS = 1_000;
const TRIM_INTERVAL_MS = 5_000;

type StateParts = Parts & {
  readonly pool: Pool;
  readonly mesh: Mesh;
};

/** What the service and the loops share. */
interface StateCore {
  readonly events: StateEvents;
  readonly tails: ChangeTails;
  readonly reads: ReadStore;
  readonly queue: StateQueue;
  readonly memory: KeyMemory;
  /** Set once the loop exists. */
  readonly wake: { poll: () => void };
  /** Set where no bus joins the replicas: then the database tells of their commits. */
  readonly notices: CommitNotices | undefined;
}

/** What sessions serve of state. */
export interface SessionState {
  readonly stateMethods: StateMethods;
  readonly stateEvents: StateEvents;
}

/** Adds StateService and the loops behind it. */
export function addState(parts: StateParts): SessionState {
  const core = createCore(parts);
  const stateMethods = addService(parts, core);
  addPoll(parts, core);
  addSweeps(parts, core);
  return { stateMethods, stateEvents: core.events };
}

function createCore({ frame, config, clock, pool, mesh: { bus } }: StateParts): StateCore {
  const events = createStateEvents(frame.metrics, frame.logger);
  const wake = { poll: (): void => undefined };
  const source = randomBytes(SOURCE_BYTES).toString("base64url");
  const notices = config.busDriver === "memory" ? { channel: STATE_CHANNEL, source } : undefined;
  const tails = new ChangeTails(() => wake.poll());
  const memory = new KeyMemory();
  const reads = createReadStore(pool, memory);
  const writes = createWriteStore({
    pool,
    rememberedMs: config.stateTombstonesKeptMs,
    memory,
    notices,
    onCommitted: (groups) => {
      for (const group of groups) tails.push(group);
      if (groups.length > 0) bus.broadcast(NEWS, encodeNews(groups));
    },
  });
  const queue = new StateQueue({ writes, reads, memory, events, clock });
  frame.defer("state", () => queue.close());
  return { events, tails, reads, queue, memory, wake, notices };
}

function addService(
  { frame, config, clock, pool, mesh }: StateParts,
  { events, tails, reads, queue, memory, notices }: StateCore,
): StateMethods {
  const register = new WatchRegister();
  createStateGauges(frame.metrics, {
    queued: () => queue.queued,
    watches: () => register.size,
    tailBytes: () => tails.bytes,
    memoryBytes: () => memory.bytes,
  });
  const buckets = createBucketStore({
    pool,
    notices,
    limits: {
      bucketsMax: config.stateBucketsMax,
      keysMax: config.stateKeysMax,
      bytesMax: config.stateBytesMax,
    },
    onDeleted: (bucketId) => {
      tails.end(bucketId);
      mesh.bus.broadcast(NEWS, encodeNews([{ bucketId }]));
    },
  });
  const onResync = (reason: string): void => events.stateResynced(reason);
  const fence = new TaskFence(mesh.leases, clock);
  const deps = { buckets, reads, queue, tails, register, fence, events, onResync };
  const handlers = createStateHandlers(deps);
  frame.server.add(StateService, handlers);
  return createStateMethods(handlers, frame.logger);
}

/** Changes of other replicas: read when they tell of them, and asked for in case they could not. */
function addPoll(
  { frame, config, clock, mesh }: StateParts,
  { tails, reads, events, wake, notices }: StateCore,
): void {
  const { bus } = mesh;
  const poll = createStatePoll({
    tails,
    reads,
    events,
    nowMs: () => clock.nowMs(),
    aliveMs: ALIVE_MS,
    isTold: () => notices !== undefined || (bus.isConnected && bus.peers.length > 0),
    askMs: config.stateAskIntervalMs,
  });
  const loop = frame.loop({
    name: "state-poll",
    intervalMs: Math.min(POLL_IDLE_MS, config.stateAskIntervalMs),
    retryMs: POLL_ASKING_MS,
    step: async (signal) => {
      await poll.step(signal);
      if (poll.isAsking) loop.soon(POLL_ASKING_MS);
    },
  });
  wake.poll = () => {
    poll.hear();
    loop.trigger();
  };
  mesh.wake.state = (notice) => {
    const [source, ids] = notice.split("/");
    if (source === notices?.source) return;
    const isAbout = (id: string): boolean => id === "" || tails.has(BigInt(id));
    if ((ids ?? "").split(",").some(isAbout)) wake.poll();
  };
  const unsubscribe = bus.subscribe(NEWS, {
    onMessage: ({ body }) => {
      if (decodeNews(body).some((bucketId) => tails.has(bucketId))) wake.poll();
    },
    onGap: () => wake.poll(),
  });
  frame.defer("state news", unsubscribe);
}

function addSweeps({ frame, config, pool }: StateParts, { queue, events }: StateCore): void {
  const { stateLogKeptMs: keptMs, stateLogChangesMax: changesMax } = config;
  const deps = { store: createSweepStore(pool, { keptMs, changesMax }), queue, events };
  frame.loop({
    name: "state-sweep",
    intervalMs: SWEEP_INTERVAL_MS,
    step: createKeySweep(deps),
  });
  frame.loop({
    name: "state-trim",
    intervalMs: Math.min(TRIM_INTERVAL_MS, keptMs),
    step: async (signal) => {
      await sweepLogs(deps, signal);
      await sweepDropped(deps, signal);
    },
  });
}

const ID_BYTES = 8;

function encodeNews(groups: readonly Pick<ChangeGroup, "bucketId">[]): Uint8Array {
  const body = Buffer.alloc(groups.length * ID_BYTES);
  for (const [at, { bucketId }] of groups.entries()) body.writeBigInt64BE(bucketId, at * ID_BYTES);
  return body;
}

function decodeNews(body: Uint8Array): bigint[] {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const count = Math.floor(bytes.length / ID_BYTES);
  return Array.from({ length: count }, (_, at) => bytes.readBigInt64BE(at * ID_BYTES));
}
