/** The right to write, and the one queue of transactions that uses it. */
import type { Pool, Queryable } from "@nexus/postgres";
import { backoffDelayMs, type Logger, type NexusError, sleep } from "@nexus/shared";
import { notOwner, type OwnerSession, tryOpenOwnerSession } from "../store/owner-session.ts";

const RETRY = { initialMs: 50, multiplier: 2, maxMs: 1_000, jitter: 0.2 };
/** How often a standby asks whether the owner is gone. */
const STANDBY_POLL_MS = 500;
/** How long after a loss, and how often, a former owner tries before it counts itself a standby. */
const RECOVER_GRACE_MS = 2_000;
const RECOVER_POLL_MS = 25;
/** How often the owner asks an idle connection whether it still holds the lock. */
const PING_INTERVAL_MS = 1_000;

/** What this process is. `recovering`: it was the owner, lost its connection, and tries to be it again. */
export type Ownership = "starting" | "standby" | "loading" | "owner" | "recovering" | "stopped";

/** What the ledger tells the engine. */
export interface LedgerHooks {
  /** This process owns: read everything. Writes begin when it resolves. */
  load(client: Queryable, epoch: bigint): Promise<void>;
  /** Nothing can be written until the next load. */
  onLost(): void;
  /** Another process owns. */
  onStandby(): void;
}

/** Owns the owner session. Transactions run one at a time, in the order of run(); memory follows each commit before
 * the next one begins, so what a transaction reads from memory is never older than the tables. */
export class Ledger {
  readonly #pool: Pool;
  readonly #owner: string;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #hooks: LedgerHooks | undefined;
  #session: OwnerSession | undefined;
  #ownership: Ownership = "starting";
  #tail: Promise<unknown> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  #waiters: { resolve(): void; reject(error: Error): void }[] = [];
  #wakeOnLoss: (() => void) | undefined;
  #lostAtMs = 0;

  constructor(options: { pool: Pool; owner: string; logger: Logger }) {
    this.#pool = options.pool;
    this.#owner = options.owner;
    this.#logger = options.logger;
  }

  get ownership(): Ownership {
    return this.#ownership;
  }

  /** The epoch of this ownership. Errors: unavailable/NOT_OWNER. */
  get epoch(): bigint {
    if (this.#session === undefined || this.#ownership !== "owner") throw this.#refusal();
    return this.#session.epoch;
  }

  /** Starts to compete for ownership. */
  start(hooks: LedgerHooks): void {
    this.#hooks = hooks;
    this.#running = this.#compete();
  }

  /** Waits for the transaction under way and gives the lock back. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wakeOnLoss?.();
    await this.#tail;
    await this.#running;
    this.#ownership = "stopped";
    this.#session?.close();
    this.#session = undefined;
    this.#settleWaiters(this.#refusal());
  }

  /** Runs a transaction and then, once committed and before the next begins, `apply`, which must not fail.
   *
   * Errors: those of `work`; unavailable/NOT_OWNER while this process does not own. */
  run<T>(work: (client: Queryable) => Promise<T>, apply: (value: T) => void): Promise<T> {
    const result = this.#tail.then(async () => {
      const session = this.#session;
      if (session === undefined || this.#ownership !== "owner") throw this.#refusal();
      try {
        const value = await session.transaction(work);
        this.#applyOrReload(() => apply(value));
        return value;
      } finally {
        if (session.lost) this.#lose();
      }
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** Gives ownership up and takes it back at once, so that everything is read anew: after a commit on another
   * connection of which nobody knows whether it happened. */
  reload(): void {
    if (this.#ownership !== "owner") return;
    this.#session?.close();
    this.#lose();
  }

  /** Resolves once this process owns and has loaded. Errors: unavailable/NOT_OWNER when another process owns. */
  untilOwner(): Promise<void> {
    if (this.#ownership === "owner") return Promise.resolve();
    if (this.#ownership === "standby" || this.#stop.signal.aborted) {
      return Promise.reject(this.#refusal());
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
  }

  /** What is committed must come into memory. If that fails, memory is wrong and is read anew. */
  #applyOrReload(apply: () => void): void {
    try {
      apply();
    } catch (error) {
      this.#logger.error(
        { err: error },
        "a committed change did not fit into memory; reading anew",
      );
      this.reload();
    }
  }

  #refusal(): NexusError {
    if (this.#ownership === "standby") return notOwner("Another replica owns the jobs.");
    return notOwner("This replica does not own the jobs at the moment; try again.");
  }

  #settleWaiters(error?: NexusError): void {
    for (const waiter of this.#waiters.splice(0)) {
      if (error === undefined) waiter.resolve();
      else waiter.reject(error);
    }
  }

  async #compete(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      try {
        const held = await this.#holdOnce();
        failures = 0;
        if (!held) await this.#pause(this.#isRecovering() ? RECOVER_POLL_MS : STANDBY_POLL_MS);
      } catch (error) {
        failures += 1;
        this.#logger.warn({ err: error, failures }, "cannot take ownership; trying again");
        await this.#pause(backoffDelayMs(failures, RETRY));
      }
    }
  }

  /** One ownership, from lock to loss; false when another process has the lock. */
  async #holdOnce(): Promise<boolean> {
    const session = await tryOpenOwnerSession(this.#pool, this.#owner);
    if (session === undefined) {
      if (!this.#isRecovering()) this.#standBy();
      return false;
    }
    this.#session = session;
    try {
      this.#ownership = "loading";
      await session.transaction((client) => this.#load(client, session.epoch));
    } catch (error) {
      this.#ownership = "recovering";
      if (!session.lost) session.close();
      throw error;
    }
    this.#ownership = "owner";
    this.#logger.info({ epoch: session.epoch.toString() }, "owner of the jobs");
    this.#settleWaiters();
    await this.#watch(session);
    return true;
  }

  /** Just after a loss the lock may still be held by this process's own dead connection. */
  #isRecovering(): boolean {
    return (
      this.#ownership === "recovering" && performance.now() - this.#lostAtMs < RECOVER_GRACE_MS
    );
  }

  #standBy(): void {
    if (this.#ownership === "standby") return;
    this.#ownership = "standby";
    this.#hooks?.onStandby();
    this.#settleWaiters(this.#refusal());
    this.#logger.info("standby: another replica owns the jobs");
  }

  async #load(client: Queryable, epoch: bigint): Promise<void> {
    await this.#hooks?.load(client, epoch);
  }

  /** Returns when the session is lost or the ledger stops. An idle loss shows only when asked. */
  async #watch(session: OwnerSession): Promise<void> {
    while (!session.lost && !this.#stop.signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, PING_INTERVAL_MS);
        this.#wakeOnLoss = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (session.lost || this.#stop.signal.aborted) return;
      const ping = this.#tail.then(() => session.ping());
      this.#tail = ping.catch(() => undefined);
      try {
        await ping;
      } catch {
        // The session says itself that it is lost; the reason was a broken connection.
        this.#lose();
      }
    }
  }

  #lose(): void {
    if (this.#ownership !== "owner") return;
    this.#ownership = "recovering";
    this.#lostAtMs = performance.now();
    this.#logger.warn(
      "lost the database connection that holds the lock; nothing is written until it is back",
    );
    this.#hooks?.onLost();
    this.#wakeOnLoss?.();
  }

  /** Sleeps, but not beyond stop(). */
  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, this.#stop.signal);
    } catch {
      // Stopped: the caller's loop sees that itself.
    }
  }
}
