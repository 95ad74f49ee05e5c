/** Keeps this replica's lease, puts silent replicas out, and sees that shards are spread evenly. */
import type { Pool } from "@nexus/postgres";
import type { Logger } from "@nexus/shared";
import { EMPTY_RING, type Ring } from "../domain/ring.ts";
import { fairShare, shardOf } from "../domain/shards.ts";
import { expelExpired, readRing, renewLease } from "../store/replica-store.ts";
import type { Ledger } from "./ledger.ts";

/** What the keeper needs. */
export interface RingKeeperDeps {
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly replicaId: string;
  readonly leaseMs: number;
  /** Resolves when no submission into these shards is under way any more. */
  readonly untilWritten: (shards: readonly number[]) => Promise<void>;
  readonly nowMs: () => number;
  readonly logger: Logger;
}

/** Owns the view of the ring. Its steps are called a few times within a lease; step() also at once when the ring changed. */
export class RingKeeper {
  readonly #deps: RingKeeperDeps;
  #ring: Ring = EMPTY_RING;
  #balanced = false;
  /** Since when every renewal in a row came in time, monotonic milliseconds. */
  #steadySinceMs: number | undefined;
  /** When the last renewal came through. */
  #renewedAtMs: number | undefined;

  constructor(deps: RingKeeperDeps) {
    this.#deps = deps;
  }

  /** How many replicas share the work, at least one. */
  get replicas(): number {
    return Math.max(1, this.#ring.replicas.size);
  }

  /** True once this replica has taken the shards that were free for it. */
  get balanced(): boolean {
    return this.#balanced && this.#deps.ledger.ownership === "owner";
  }

  /** True while no renewal has come through for a whole lease: the database does not answer this replica, which others may
   * have put out by now. Its calls would wait for nothing. */
  get isCutOff(): boolean {
    const { nowMs, leaseMs } = this.#deps;
    return this.#renewedAtMs !== undefined && nowMs() - this.#renewedAtMs > leaseMs;
  }

  /** True while a live replica is reached at this address, as last seen. */
  hasReplicaAt(address: string): boolean {
    return [...this.#ring.replicas.values()].includes(address);
  }

  /** Where the owner of a job or task can be called, as last seen; undefined when nobody is known to own it. */
  addressOf(id: string): string | undefined {
    const owner = this.#ring.owners.get(shardOf(id));
    return owner === undefined ? undefined : this.#ring.replicas.get(owner);
  }

  /** Where a replica that owns anything can be called; undefined when there is none but this one. */
  anyOther(): string | undefined {
    const owners = new Set(this.#ring.owners.values());
    for (const [replicaId, address] of this.#ring.replicas) {
      if (replicaId !== this.#deps.replicaId && owners.has(replicaId)) return address;
    }
    return undefined;
  }

  /** Reads the ring again. */
  async refresh(): Promise<void> {
    this.#ring = await readRing(this.#deps.pool);
  }

  /** Looks, and moves shards where they belong. */
  async step(): Promise<void> {
    if (this.#deps.ledger.ownership !== "owner") return;
    await this.#expel();
    await this.refresh();
    await this.#balance();
  }

  /** Renews the lease. A step of its own, since moving shards may take longer than a lease. */
  async renew(): Promise<void> {
    const { pool, ledger, replicaId, leaseMs, nowMs, logger } = this.#deps;
    if (ledger.ownership !== "owner" || this.isCutOff) this.#steadySinceMs = undefined;
    if (ledger.ownership !== "owner") return;
    const renewed = await renewLease(pool, replicaId, leaseMs);
    const renewedAtMs = nowMs();
    this.#renewedAtMs = renewedAtMs;
    if (renewed) {
      this.#steadySinceMs ??= renewedAtMs;
      return;
    }
    logger.warn("the lease ran out and another replica put this one out; it joins again");
    ledger.reload();
  }

  /** Nobody puts others out before its own lease has stood for a full term: after an outage of the database all leases are over,
   * and everybody gets the time to renew. */
  async #expel(): Promise<void> {
    const { pool, leaseMs, nowMs, logger } = this.#deps;
    if (this.#steadySinceMs === undefined || nowMs() - this.#steadySinceMs < leaseMs) return;
    for (const replicaId of await expelExpired(pool)) {
      logger.warn({ replica_id: replicaId }, "put out a replica that did not renew its lease");
    }
  }

  async #balance(): Promise<void> {
    const { ledger, replicaId, untilWritten, logger } = this.#deps;
    const share = fairShare(replicaId, [...this.#ring.replicas.keys()]);
    const surplus = ledger.shards.size - share;
    if (surplus > 0) {
      const giving = ledger.beginGiving(surplus);
      await untilWritten(giving);
      await ledger.give(giving);
      logger.info({ given: giving.length, held: share }, "gave shards to other replicas");
    } else if (surplus < 0) {
      const taken = await ledger.take(-surplus);
      if (taken > 0) {
        await this.refresh();
        logger.info({ taken, held: ledger.shards.size }, "took shards");
      }
    }
    this.#balanced = true;
  }
}
