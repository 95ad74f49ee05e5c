import { NexusError } from "@nexus/shared";
import type { Issuance, NewFamily } from "../domain/ports.ts";

/** What LockedStarts need. */
export interface LockedStartsOptions {
  /** Starts families of one principal. Waits for its row for a short time only. Errors: conflict/LOCK_NOT_AVAILABLE. */
  readonly start: (families: readonly NewFamily[]) => Promise<readonly (Issuance | undefined)[]>;
  readonly nowMs: () => number;
  /** Principals that are tried at a time; each holds a connection for as long as `start` waits. */
  readonly lanes: number;
  /** Grants that may wait; beyond it the answer is exhausted/QUEUE_FULL. */
  readonly maxQueued: number;
  /** Grants of one principal that share a commit. */
  readonly maxItems: number;
  /** How long a grant waits in all, but for the try that is under way. */
  readonly giveUpMs: number;
}

const RETRY_AFTER_MS = 1_000;

interface Waiting {
  readonly family: NewFamily;
  readonly giveUpAtMs: number;
  tries: number;
  resolve(issuance: Issuance | undefined): void;
  reject(error: unknown): void;
}

/** Grants for principals whose rows another transaction holds. Each principal waits by itself, a little at a time. Who was tried less
 * comes first, so that one whose row is held for a moment waits for one try of those that are stuck, and not for all of them. */
export class LockedStarts {
  readonly #options: LockedStartsOptions;
  /** By principal, the grant that has waited longest first. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #running = new Set<string>();
  #queued = 0;
  #onIdle: (() => void) | undefined;

  constructor(options: LockedStartsOptions) {
    this.#options = options;
  }

  /** Errors: conflict/LOCK_NOT_AVAILABLE when the row was held until giveUpMs were over or the caller was gone; exhausted/QUEUE_FULL;
   * those of `start`. */
  add(family: NewFamily): Promise<Issuance | undefined> {
    const { maxQueued, giveUpMs, nowMs } = this.#options;
    if (this.#queued >= maxQueued) return Promise.reject(queueFull(maxQueued));
    this.#queued++;
    return new Promise((resolve, reject) => {
      const giveUpAtMs = nowMs() + giveUpMs;
      const one: Waiting = { family, giveUpAtMs, tries: 0, resolve, reject };
      const key = keyOf(family);
      this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), one]);
      this.#pump();
    });
  }

  /** Resolves when nobody waits any more, which is giveUpMs and a try from now at most. */
  async close(): Promise<void> {
    if (this.#queued === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #pump(): void {
    if (this.#running.size >= this.#options.lanes) return;
    this.#dropExpired();
    for (const key of this.#inTurn()) {
      if (this.#running.size >= this.#options.lanes) return;
      this.#running.add(key);
      void this.#try(key).finally(() => {
        this.#running.delete(key);
        this.#pump();
      });
    }
    if (this.#queued === 0) this.#onIdle?.();
  }

  /** Nobody is granted what nobody waits for any more. */
  #dropExpired(): void {
    const nowMs = this.#options.nowMs();
    for (const [key, all] of this.#waiting) {
      const left = all.filter((one) => nowMs < one.giveUpAtMs && !one.family.signal?.aborted);
      if (left.length === all.length) continue;
      for (const one of all) if (!left.includes(one)) one.reject(heldTooLong());
      this.#queued -= all.length - left.length;
      if (left.length > 0) this.#waiting.set(key, left);
      else this.#waiting.delete(key);
    }
  }

  /** The principals that wait for a lane, by how often the first of their grants was tried. */
  #inTurn(): string[] {
    return [...this.#waiting]
      .filter(([key]) => !this.#running.has(key))
      .sort(([, [one]], [, [other]]) => (one?.tries ?? 0) - (other?.tries ?? 0))
      .map(([key]) => key);
  }

  async #try(key: string): Promise<void> {
    const all = this.#waiting.get(key) ?? [];
    const some = all.slice(0, this.#options.maxItems);
    this.#waiting.delete(key);
    if (all.length > some.length) this.#waiting.set(key, all.slice(some.length));
    try {
      const issuances = await this.#options.start(some.map(({ family }) => family));
      some.forEach((one, place) => {
        one.resolve(issuances[place]);
      });
      this.#queued -= some.length;
    } catch (error) {
      if (isLocked(error)) this.#putBack(key, some);
      else {
        for (const one of some) one.reject(error);
        this.#queued -= some.length;
      }
    }
  }

  /** Before those that came meanwhile, and behind the other principals. */
  #putBack(key: string, some: readonly Waiting[]): void {
    for (const one of some) one.tries++;
    const newer = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    this.#waiting.set(key, [...some, ...newer]);
  }
}

function keyOf({ namespace, principalId }: NewFamily): string {
  return `${namespace}/${principalId}`;
}

function isLocked(error: unknown): boolean {
  return NexusError.is(error, "conflict", "LOCK_NOT_AVAILABLE");
}

function heldTooLong(): NexusError {
  return new NexusError({
    kind: "conflict",
    reason: "LOCK_NOT_AVAILABLE",
    message: "A concurrent change holds the principal; try again.",
  });
}

function queueFull(maxQueued: number): NexusError {
  return new NexusError({
    kind: "exhausted",
    reason: "QUEUE_FULL",
    message: `The queue of grants for locked principals holds its limit of ${maxQueued} items.`,
    details: { retryAfterMs: RETRY_AFTER_MS },
  });
}
