import type { Clock, Logger } from "@nexus/shared";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { RevocationEntry, RevocationSet } from "./revocation-set.ts";

/** One message of the revocation stream. */
export interface RevocationBatch {
  readonly revision: bigint;
  readonly entries: readonly RevocationEntry[];
}

/** What createRevocationFollower needs. */
export interface RevocationFollowerOptions {
  /** Opens the stream after a revision; ends or throws when it breaks. */
  readonly watch: (resumeRevision: bigint, signal: AbortSignal) => AsyncIterable<RevocationBatch>;
  readonly revocations: RevocationSet;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A stream silent for longer counts as broken; default 15 s, three times vault's promise. */
  readonly silenceMaxMs?: number;
}

/** Keeps a revocation set up to date from vault's stream until it is closed. */
export interface RevocationFollower {
  /** True when nothing was heard for longer than the allowed silence, or nothing ever. */
  readonly stale: boolean;
  /** Resolves with the first message that holds less than a full batch: all that was in force is known then. */
  readonly caughtUp: Promise<void>;
  close(): Promise<void>;
}

/** Vault sends a sign of life every 5 s; three missed ones mean a broken stream. */
export const SILENCE_MAX_MS = 15_000;
/** Entries of a full message; a shorter one says that nothing more is waiting. */
export const REVOCATION_BATCH_MAX = 512;
const PRUNE_INTERVAL_MS = 30_000;
const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 2000, jitter: 0.5 } as const;

function silenceError(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "UNAVAILABLE",
    message: "The revocation stream went silent.",
  });
}

/** Starts following. Reconnects for ever with a growing, jittered delay and resumes after the last revision seen, so
 * a break delays revocations and never loses one. */
export function createRevocationFollower(options: RevocationFollowerOptions): RevocationFollower {
  const { revocations, clock, logger } = options;
  const silenceMaxMs = options.silenceMaxMs ?? SILENCE_MAX_MS;
  const closing = new AbortController();
  let revision = 0n;
  let heardAtMs = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let markCaughtUp: () => void = () => undefined;
  const caughtUp = new Promise<void>((resolve) => {
    markCaughtUp = resolve;
  });

  function receive(batch: RevocationBatch): void {
    revision = batch.revision;
    heardAtMs = clock.nowMs();
    failures = 0;
    revocations.add(batch.entries);
    if (batch.entries.length < REVOCATION_BATCH_MAX) markCaughtUp();
  }

  async function followOnce(): Promise<void> {
    const attempt = new AbortController();
    const watchdog = setTimeout(() => attempt.abort(silenceError()), silenceMaxMs);
    const signal = AbortSignal.any([closing.signal, attempt.signal]);
    try {
      for await (const batch of options.watch(revision, signal)) {
        watchdog.refresh();
        receive(batch);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await followOnce();
        logger.debug("the revocation stream ended");
      } catch (error) {
        if (closing.signal.aborted) return;
        logger[NexusError.levelOfEnd(error)]({ err: error }, "the revocation stream broke");
      }
      failures++;
      try {
        await sleep(backoffDelayMs(failures, RECONNECT), closing.signal);
      } catch {
        // Only close() ends this wait early.
        return;
      }
    }
  }

  const pruning = setInterval(() => revocations.prune(clock.nowMs()), PRUNE_INTERVAL_MS);
  pruning.unref();
  const running = run();

  return {
    get stale() {
      return clock.nowMs() - heardAtMs > silenceMaxMs;
    },
    caughtUp,
    async close() {
      clearInterval(pruning);
      closing.abort();
      await running;
    },
  };
}
