import { NexusError } from "@nexus/shared";
import type { Issuance, NewFamily } from "../domain/ports.ts";

/** What LockedStarts need. */
export interface LockedStartsOptions {
  /** Starts families of one principal. Waits for its row for a short time only. Errors: conflict/LOCK_NOT_AVAILABLE. */
  readonly start: (families: readonly NewFamily[]) => Promise<readonly (Issuance | undefined)[]>;
  readonly nowMs: () => number;
  /** Grants that may wait; beyond it the answer is exhausted/QUEUE_FULL. */
  readonly maxQueued: number;
  /** Grants of one principal that share a commit. */
  readonly maxItems: number;
  /** How long a grant waits in all. */
  readonly giveUpMs: number;
}

/** Principals that are tried at a time; each holds a connection for as long as `start` waits. */
const LANES = 2;
const RETRY_AFTER_MS = 1_000;

interface Waiting {
  readonly family: NewFamily;
  readonly giveUpAtMs: number;
  resolve(issuance: Issuance | undefined): void;
  reject(error: unknown): void;
}

/** Grants for principals whose rows another transaction holds. Each principal waits by itself, a little at a time and in turn with
 * the others, so that one that is stuck delays nobody else. */
export class LockedStarts {
  readonly #options: LockedStartsOptions;
  /** By principal, the one that has waited longest first. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #running = new Set<string>();
  #queued = 0;
  #onIdle: (() => void) | undefined;

  constructor(options: LockedStartsOptions) {
    this.#options = options;
  }

  /** Errors: conflict/LOCK_NOT_AVAILABLE when the row was held all the time; exhausted/QUEUE_FULL; those of `start`. */
  add(family: NewFamily): Promise<Issuance | undefined> {
    const { maxQueued, giveUpMs, nowMs } = this.#options;
    if (this.#queued >= maxQueued) return Promise.reject(queueFull(maxQueued));
    this.#queued++;
    return new Promise((resolve, reject) => {
      this.#put(keyOf(family), [{ family, giveUpAtMs: nowMs() + giveUpMs, resolve, reject }]);
      this.#pump();
    });
  }

  /** Resolves when nobody waits any more. */
  async close(): Promise<void> {
    if (this.#queued === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #put(key: string, some: readonly Waiting[]): void {
    const before = this.#waiting.get(key) ?? [];
    this.#waiting.set(key, [...before, ...some]);
  }

  #pump(): void {
    for (const key of [...this.#waiting.keys()]) {
      if (this.#running.size >= LANES) return;
      if (this.#running.has(key)) continue;
      this.#running.add(key);
      void this.#try(key).finally(() => {
        this.#running.delete(key);
        this.#pump();
      });
    }
    if (this.#queued === 0) this.#onIdle?.();
  }

  async #try(key: string): Promise<void> {
    const all = this.#waiting.get(key) ?? [];
    const some = all.slice(0, this.#options.maxItems);
    this.#waiting.delete(key);
    if (all.length > some.length) this.#put(key, all.slice(some.length));
    try {
      const issuances = await this.#options.start(some.map(({ family }) => family));
      some.forEach((one, place) => {
        one.resolve(issuances[place]);
      });
      this.#queued -= some.length;
    } catch (error) {
      const again = isLocked(error) ? some.filter((one) => this.#mayWait(one)) : [];
      for (const one of some) if (!again.includes(one)) one.reject(error);
      this.#queued -= some.length - again.length;
      if (again.length > 0) this.#put(key, again);
    }
  }

  #mayWait({ giveUpAtMs }: Waiting): boolean {
    return this.#options.nowMs() < giveUpAtMs;
  }
}

function keyOf({ namespace, principalId }: NewFamily): string {
  return `${namespace}/${principalId}`;
}

function isLocked(error: unknown): boolean {
  return NexusError.is(error, "conflict", "LOCK_NOT_AVAILABLE");
}

function queueFull(maxQueued: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "QUEUE_FULL",
    message: `The queue of grants for locked principals holds its limit of ${maxQueued} items.`,
    details: { retryAfterMs: RETRY_AFTER_MS },
  });
}
