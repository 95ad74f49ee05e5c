/** The background work of the orchestrator, as steps that loops repeat. */
import type { LoopOptions } from "@nexus/runtime";
import type { Engine } from "../engine/engine.ts";

type LoopSpec = Omit<LoopOptions, "logger">;

/** The safety net behind the events looks this often. */
const SWEEP_INTERVAL_MS = 1_000;
const ABSENT_INTERVAL_MS = 250;
/** Half a minute by default. */
const REAPS_PER_AUDIT = 120;
/** Renewals in the time of a lease while none fails; behind a failure the loop pauses longer, so fewer fit. */
const RING_LOOKS_PER_LEASE = 6;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const ROUTER_LOOKUP_INTERVAL_MS = 5_000;
const REQUEST_BATCH_ROWS = 5_000;
/** Each may have 64 parts of 1 MiB. */
const PAYLOAD_BATCH_ROWS = 16;

/** Repeats a bounded step while it finds full batches, so that a backlog is worked off at once. */
async function drain(step: () => Promise<number>, batchMax: number, signal: AbortSignal) {
  while (!signal.aborted && (await step()) >= batchMax);
}

/** Ends attempts that take too long. */
export function reapDeadlines(engine: Engine, intervalMs: number, batchMax: number): LoopSpec {
  const step = () => engine.reaper.reapDeadlines();
  return { name: "reap-deadlines", intervalMs, step: (signal) => drain(step, batchMax, signal) };
}

/** Looks for stored leases that memory does not know. */
export function auditLeases(engine: Engine, reapIntervalMs: number): LoopSpec {
  const intervalMs = reapIntervalMs * REAPS_PER_AUDIT;
  return { name: "audit-leases", intervalMs, step: () => engine.reaper.auditLeases() };
}

/** Looks for stored tasks that wait and that memory does not know, and for jobs that count other tasks than they have. */
export function auditWaiting(engine: Engine, reapIntervalMs: number): LoopSpec {
  const intervalMs = reapIntervalMs * REAPS_PER_AUDIT;
  return { name: "audit-waiting", intervalMs, step: () => engine.waitingAudit.look() };
}

/** Fails tasks that found no agent in time. */
export function reapWaiting(engine: Engine, intervalMs: number, batchMax: number): LoopSpec {
  const step = () => engine.waitingReaper.reap();
  return { name: "reap-waiting", intervalMs, step: (signal) => drain(step, batchMax, signal) };
}

/** Ends attempts whose agents are silent. */
export function reapSilent(engine: Engine, intervalMs: number, batchMax: number): LoopSpec {
  const step = () => engine.silenceReaper.reap();
  return { name: "reap-silent", intervalMs, step: (signal) => drain(step, batchMax, signal) };
}

/** Fails tasks that took too long in all. */
export function reapClosings(engine: Engine, intervalMs: number, batchMax: number): LoopSpec {
  const step = () => engine.closingReaper.reap();
  return { name: "reap-closings", intervalMs, step: (signal) => drain(step, batchMax, signal) };
}

/** Ends the leases of agents that were not seen again. */
export function reapAbsent(engine: Engine): LoopSpec {
  return {
    name: "reap-absent",
    intervalMs: ABSENT_INTERVAL_MS,
    step: () => {
      if (engine.ownership === "owner") engine.sessions.reapAbsent();
      return Promise.resolve();
    },
  };
}

/** Keeps shards spread evenly over the replicas. */
export function keepRing(engine: Engine, leaseMs: number): LoopSpec {
  const intervalMs = Math.ceil(leaseMs / RING_LOOKS_PER_LEASE);
  return { name: "keep-ring", intervalMs, step: () => engine.ring.step() };
}

/** Keeps this replica's lease. */
export function renewLease(engine: Engine, leaseMs: number): LoopSpec {
  const intervalMs = Math.ceil(leaseMs / RING_LOOKS_PER_LEASE);
  return { name: "renew-lease", intervalMs, step: () => engine.ring.renew() };
}

/** Looks at every lane, and sends assignments that never got out. */
export function sweep(engine: Engine): LoopSpec {
  return { name: "sweep", intervalMs: SWEEP_INTERVAL_MS, step: () => engine.sweep() };
}

/** Makes coming event partitions and drops old ones. */
export function keepPartitionsLoop(keep: () => Promise<void>): LoopSpec {
  return { name: "keep-partitions", intervalMs: HOUR_MS, step: keep };
}

/** Forgets old request ids. */
export function forgetRequests(remove: (limit: number) => Promise<number>): LoopSpec {
  return {
    name: "forget-requests",
    intervalMs: MINUTE_MS,
    step: (signal) => drain(() => remove(REQUEST_BATCH_ROWS), REQUEST_BATCH_ROWS, signal),
  };
}

/** Removes jobs that ended long ago. */
export function removeJobs(engine: Engine, ageMs: number): LoopSpec {
  const step = (signal: AbortSignal) => engine.jobRemover.removeOlderThan(ageMs, signal);
  return { name: "remove-jobs", intervalMs: MINUTE_MS, step };
}

/** Removes stored bodies whose time is over, and what broken uploads left behind. */
export function removePayloads(remove: {
  unused(limit: number): Promise<number>;
  broken(limit: number): Promise<number>;
  uses(limit: number): Promise<number>;
}): LoopSpec {
  return {
    name: "remove-payloads",
    intervalMs: MINUTE_MS,
    step: async (signal) => {
      await drain(() => remove.uses(REQUEST_BATCH_ROWS), REQUEST_BATCH_ROWS, signal);
      await drain(() => remove.broken(PAYLOAD_BATCH_ROWS), PAYLOAD_BATCH_ROWS, signal);
      await drain(() => remove.unused(PAYLOAD_BATCH_ROWS), PAYLOAD_BATCH_ROWS, signal);
    },
  };
}

/** Looks up the names of routers again. */
export function refreshRouters(refresh: () => Promise<void>): LoopSpec {
  return { name: "refresh-routers", intervalMs: ROUTER_LOOKUP_INTERVAL_MS, step: refresh };
}
