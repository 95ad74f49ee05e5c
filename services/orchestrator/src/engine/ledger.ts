/** The right to write for some shards, and the one queue of transactions that uses it. */
import { type Pool, type Queryable, type Transaction, together } from "@nexus/postgres";
import { backoffDelayMs, type Logger, NexusError, sleep, withDeadline } from "@nexus/shared";
import { SHARDS, shardOf } from "../domain/shards.ts";
import {
  giveShards,
  joinRing,
  leaveRing,
  type NewReplica,
  renewLease,
  replaceEarlier,
  takeShards,
} from "../store/replica-store.ts";
import {
  assertHolding,
  type Holding,
  notOwner,
  openWriterSession,
  type WriterSession,
} from "../store/writer-session.ts";

const RETRY = { initialMs: 50, multiplier: 2, maxMs: 1_000, jitter: 0.2 };
/** How often an idle connection is asked whether it is alive. */
const PING_INTERVAL_MS = 1_000;
/** How long the last transaction, and leaving, may take; after it the lease runs out by itself. */
const LEAVE_MAX_MS = 2_000;

/** What this process is. `owner`: it may write for the shards that it holds, be they none. `recovering`: it lost its connection,
 * and reads everything again before it writes. */
export type Ownership = "starting" | "loading" | "owner" | "recovering" | "stopped";

/** What the ledger tells the engine. */
export interface LedgerHooks {
  /** Reads what waits and runs in these shards; what it returns brings that into memory, and must not fail. */
  load(client: Queryable, shards: readonly number[]): Promise<() => void>;
  /** Nothing in memory counts any more: it is about to be read anew. */
  onReset(): void;
  /** The shards read last are in memory and may be worked on. `all`: they are all there are. */
  onTaken(shards: readonly number[], all: boolean): void;
  /** Shards are another replica's from now on; their work leaves memory. `blocked` of their tasks, by namespace, wait for
   * others. */
  onGiven(shards: readonly number[], blocked: ReadonlyMap<string, number>): void;
  /** Nothing can be written until the next load. */
  onLost(): void;
}

/** What a ledger is made from. */
export interface LedgerOptions {
  readonly pool: Pool;
  readonly replica: Omit<NewReplica, "address">;
  readonly logger: Logger;
}

/** Owns the writing connection and the shards. Transactions run one at a time, in the order of run(); memory follows each commit
 * before the next one begins, so what a transaction reads from memory is never older than the tables. */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #stop = new AbortController();
  #hooks: LedgerHooks | undefined;
  #session: WriterSession | undefined;
  #ownership: Ownership = "starting";
  #shards: Map<number, bigint> = new Map();
  /** Shards about to be given back: they get no new jobs. */
  readonly #leaving = new Set<number>();
  #lastPicked = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  #waiters: { resolve(): void; reject(error: Error): void }[] = [];
  #wakeOnLoss: (() => void) | undefined;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  get ownership(): Ownership {
    return this.#ownership;
  }

  /** The shards that this replica may write for. */
  get shards(): ReadonlyMap<number, bigint> {
    return this.#shards;
  }

  /** Says whether a job, or a task by its id, is this replica's. */
  owns(id: string): boolean {
    return this.#shards.has(shardOf(id));
  }

  /** Starts to compete for shards, reachable by other replicas at this address. */
  start(hooks: LedgerHooks, address: string): void {
    this.#hooks = hooks;
    this.#running = this.#hold({ ...this.#options.replica, address });
  }

  /** Waits for the transaction under way and frees all shards. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wakeOnLoss?.();
    // A database that does not answer holds up no shutdown: the connection is cut.
    const settled = Promise.all([this.#tail, this.#running]);
    await withDeadline(settled, LEAVE_MAX_MS).catch(() => undefined);
    const joined = this.#ownership !== "starting";
    this.#ownership = "stopped";
    this.#session?.close();
    this.#session = undefined;
    this.#shards = new Map();
    this.#settleWaiters(this.#refusal());
    if (joined) await this.#leave();
  }

  /** Runs a transaction and then, once committed and before the next begins, `apply`, which must not fail.
   *
   * `work` may commit by itself, together with its last statements.
   * Errors: those of `work`; unavailable/NOT_OWNER while this process may not write. */
  run<T>(work: (client: Transaction) => Promise<T>, apply: (value: T) => void): Promise<T> {
    const result = this.#tail.then(async () => {
      const session = this.#session;
      if (session === undefined || this.#ownership !== "owner") throw this.#refusal();
      try {
        const value = await session.transaction(async (client) => {
          // Both at once: what was written without the right to is rolled back.
          const [, value] = await together(this.#assertHolding(client, session), work(client));
          return value;
        });
        this.#applyOrReload(() => apply(value));
        return value;
      } finally {
        if (session.lost) this.#lose();
      }
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** What a transaction on another connection must assert to write new jobs into these shards.
   *
   * Errors: unavailable/NOT_OWNER when one of them is not this replica's. */
  holdingOf(shards: Iterable<number>): Holding {
    if (this.#ownership !== "owner") throw this.#refusal();
    return this.#holding(shards);
  }

  /** Says whether a holding still stands: then memory has to hear what was written under it; if not, it was or will be read. */
  isCurrent({ shards }: Holding): boolean {
    if (this.#ownership !== "owner") return false;
    for (const [shard, epoch] of shards) if (this.#shards.get(shard) !== epoch) return false;
    return true;
  }

  /** A shard for a new job, each of this replica's in turn; undefined when it has none. */
  pickShard(): number | undefined {
    for (let step = 1; step <= SHARDS; step += 1) {
      const shard = (this.#lastPicked + step) % SHARDS;
      if (!this.#shards.has(shard) || this.#leaving.has(shard)) continue;
      this.#lastPicked = shard;
      return shard;
    }
    return undefined;
  }

  /** Takes free shards, at most so many, with all that waits and runs in them; returns how many there were. */
  async take(limit: number): Promise<number> {
    const { taken } = await this.run(
      async (client) => {
        const taken = await takeShards(client, this.#options.replica.replicaId, limit);
        if (taken.size === 0) return { taken, bring: () => undefined };
        return { taken, bring: await this.#load(client, [...taken.keys()]) };
      },
      ({ taken, bring }) => {
        for (const [shard, epoch] of taken) this.#shards.set(shard, epoch);
        bring();
        if (taken.size > 0) this.#hooks?.onTaken([...taken.keys()], false);
      },
    );
    return taken.size;
  }

  /** Begins to give shards back: they get no new jobs any more. Returns those it has to give, at most so many. */
  beginGiving(count: number): number[] {
    const giving = [...this.#shards.keys()].slice(-count);
    for (const shard of giving) this.#leaving.add(shard);
    return giving;
  }

  /** Gives shards back, once nothing that writes into them on other connections is under way. Those that a reload made this
   * replica keep, or lose, since beginGiving() are left as they are. */
  async give(shards: readonly number[]): Promise<void> {
    const { replicaId } = this.#options.replica;
    try {
      await this.run(
        async (client) => {
          const leaving = shards.filter((shard) => this.#leaving.has(shard));
          return { leaving, blocked: await giveShards(client, replicaId, leaving) };
        },
        ({ leaving, blocked }) => {
          for (const shard of leaving) this.#shards.delete(shard);
          this.#hooks?.onGiven(leaving, blocked);
        },
      );
    } finally {
      for (const shard of shards) this.#leaving.delete(shard);
    }
  }

  /** Gives the connection up and reads everything anew: after a commit on another connection of which nobody knows whether it
   * happened, and when this replica was put out. */
  reload(): void {
    if (this.#ownership !== "owner") return;
    this.#session?.close();
    this.#lose();
  }

  /** Resolves once this process may write. Errors: unavailable/NOT_OWNER when it stops. */
  untilOwner(): Promise<void> {
    if (this.#ownership === "owner") return Promise.resolve();
    if (this.#stop.signal.aborted) return Promise.reject(this.#refusal());
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
  }

  /** Memory that no longer agrees with who owns what is read anew. */
  async #assertHolding(client: Queryable, session: WriterSession): Promise<void> {
    try {
      await assertHolding(client, this.#holding(this.#shards.keys()));
    } catch (error) {
      if (NexusError.is(error, "unavailable", "NOT_OWNER")) session.close();
      throw error;
    }
  }

  #holding(shards: Iterable<number>): Holding {
    const held = new Map<number, bigint>();
    for (const shard of shards) {
      const epoch = this.#shards.get(shard);
      if (epoch === undefined) throw notOwner("Another replica owns these jobs.");
      held.set(shard, epoch);
    }
    return { replicaId: this.#options.replica.replicaId, shards: held };
  }

  /** What is committed must come into memory. If that fails, memory is wrong and is read anew. */
  #applyOrReload(apply: () => void): void {
    try {
      apply();
    } catch (error) {
      this.#options.logger.error(
        { err: error },
        "a committed change did not fit into memory; reading anew",
      );
      this.reload();
    }
  }

  #refusal(): NexusError {
    return notOwner("This replica may not write at the moment; try again.");
  }

  #settleWaiters(error?: NexusError): void {
    for (const waiter of this.#waiters.splice(0)) {
      if (error === undefined) waiter.resolve();
      else waiter.reject(error);
    }
  }

  async #load(client: Queryable, shards: readonly number[]): Promise<() => void> {
    return (await this.#hooks?.load(client, shards)) ?? (() => undefined);
  }

  /** One connection after the other, until stopped. */
  async #hold(replica: NewReplica): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      try {
        await this.#holdOnce(replica);
        failures = 0;
      } catch (error) {
        failures += 1;
        this.#options.logger.warn({ err: error, failures }, "cannot take part; trying again");
        await this.#pause(backoffDelayMs(failures, RETRY));
      }
    }
  }

  /** One connection's life. */
  async #holdOnce(replica: NewReplica): Promise<void> {
    const session = await openWriterSession(this.#options.pool);
    const first = this.#ownership === "starting";
    this.#session = session;
    try {
      this.#ownership = "loading";
      const { held, bring } = await session.transaction(async (client) => {
        if (first) await replaceEarlier(client, replica.name);
        const held = await joinRing(client, replica);
        const bring = await this.#load(client, [...held.keys()]);
        // Reading may have taken longer than the lease that began with the transaction.
        await renewLease(client, replica.replicaId, replica.leaseMs);
        return { held, bring };
      });
      this.#hooks?.onReset();
      this.#leaving.clear();
      this.#shards = held;
      bring();
    } catch (error) {
      this.#ownership = first ? "starting" : "recovering";
      if (!session.lost) session.close();
      throw error;
    }
    this.#ownership = "owner";
    this.#options.logger.info({ shards: this.#shards.size }, "takes part in the work");
    this.#settleWaiters();
    this.#hooks?.onTaken([...this.#shards.keys()], true);
    await this.#watch(session);
  }

  async #leave(): Promise<void> {
    const { pool, replica, logger } = this.#options;
    try {
      await withDeadline(leaveRing(pool, replica.replicaId), LEAVE_MAX_MS);
    } catch (error) {
      logger.warn({ err: error }, "could not say goodbye; the lease runs out by itself");
    }
  }

  /** Returns when the session is lost or the ledger stops. An idle loss shows only when asked. */
  async #watch(session: WriterSession): Promise<void> {
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
    this.#options.logger.warn("lost the right to write; nothing is written until it is back");
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
