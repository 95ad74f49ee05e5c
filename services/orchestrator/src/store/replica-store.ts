/** Who the replicas are, who owns which shard, and how ownership moves. Leases of replicas are of database time. */
import type { Queryable } from "@nexus/postgres";
import type { Ring } from "../domain/ring.ts";
import { countBlocked } from "./blocked-store.ts";

/** Told when a shard became free or a replica joined, so that nobody waits for its next look. */
export const RING_CHANNEL = "nexus_orchestrator_ring";

/** A replica about to join. */
export interface NewReplica {
  readonly replicaId: string;
  /** Stays the same over restarts. */
  readonly name: string;
  /** host:port at which other replicas hand calls on. */
  readonly address: string;
  readonly leaseMs: number;
}

const LOCK_SELF = {
  name: "ring-lock-self",
  text: "SELECT 1 FROM replicas WHERE replica_id = $1 FOR UPDATE",
};
const JOIN = {
  name: "ring-join",
  text: `
    INSERT INTO replicas AS r (replica_id, name, address, expires_at)
    VALUES ($1, $2, $3, now() + $4::int * interval '1 millisecond')
        ON CONFLICT (replica_id) DO UPDATE SET expires_at = excluded.expires_at`,
};
const RETAKE = {
  name: "ring-retake",
  text: "UPDATE shard_owners SET epoch = epoch + 1 WHERE owner = $1 RETURNING shard, epoch",
};

/** Joins, or comes back after the loss of a connection; returns the shards it still has, none when it was put out meanwhile.
 *
 * Waits for transactions that it began before on other connections, and makes those fail that begin with the old epochs: what is
 * read after this in the same transaction is all there is. */
export async function joinRing(
  client: Queryable,
  replica: NewReplica,
): Promise<Map<number, bigint>> {
  const { replicaId, name, address, leaseMs } = replica;
  await client.query(LOCK_SELF, [replicaId]);
  await client.query(JOIN, [replicaId, name, address, leaseMs]);
  const { rows } = await client.query<HeldRow>(RETAKE, [replicaId]);
  await announce(client);
  return toHeld(rows);
}

const REPLACE = { name: "ring-replace", text: "DELETE FROM replicas WHERE name = $1" };

/** Puts out what an earlier start of this process left behind: its port is ours now, so it is dead.
 *
 * Waits for transactions of it that the database has not ended yet. */
export async function replaceEarlier(client: Queryable, name: string): Promise<void> {
  await client.query(REPLACE, [name]);
}

const RENEW = {
  name: "ring-renew",
  text: `
    UPDATE replicas SET expires_at = clock_timestamp() + $2::int * interval '1 millisecond' WHERE replica_id = $1`,
};

/** Renews a replica's lease; false when it was put out. */
export async function renewLease(
  client: Queryable,
  replicaId: string,
  leaseMs: number,
): Promise<boolean> {
  const { rowCount } = await client.query(RENEW, [replicaId, leaseMs]);
  return rowCount === 1;
}

const LEAVE = { name: "ring-leave", text: "DELETE FROM replicas WHERE replica_id = $1" };

/** Leaves for good; all shards of the replica are free at once. */
export async function leaveRing(client: Queryable, replicaId: string): Promise<void> {
  await client.query(LEAVE, [replicaId]);
  await announce(client);
}

const EXPEL = {
  name: "ring-expel",
  text: `
    DELETE FROM replicas WHERE replica_id IN (
      SELECT replica_id FROM replicas WHERE expires_at < now() FOR UPDATE SKIP LOCKED
    ) RETURNING replica_id`,
};

/** Puts out replicas whose lease is over; returns their ids. One whose transaction still runs is left for the next
 * look: the database ends what stands idle in a transaction. */
export async function expelExpired(client: Queryable): Promise<string[]> {
  const { rows } = await client.query<{ replica_id: string }>(EXPEL);
  return rows.map((row) => row.replica_id);
}

const READ_REPLICAS = {
  name: "ring-replicas",
  text: "SELECT replica_id, address FROM replicas WHERE expires_at >= now() ORDER BY replica_id",
};
const READ_OWNERS = {
  name: "ring-owners",
  text: "SELECT shard, owner FROM shard_owners WHERE owner IS NOT NULL",
};

/** Reads who lives and who owns what. */
export async function readRing(client: Queryable): Promise<Ring> {
  const { rows: replicas } = await client.query<{ replica_id: string; address: string }>(
    READ_REPLICAS,
  );
  const { rows: owners } = await client.query<{ shard: number; owner: string }>(READ_OWNERS);
  return {
    replicas: new Map(replicas.map((row) => [row.replica_id, row.address])),
    owners: new Map(owners.map((row) => [row.shard, row.owner])),
  };
}

const TAKE = {
  name: "ring-take",
  text: `
    UPDATE shard_owners SET owner = $1, epoch = epoch + 1, taken_at = now()
     WHERE shard IN (
       SELECT shard FROM shard_owners WHERE owner IS NULL ORDER BY shard LIMIT $2 FOR UPDATE SKIP LOCKED
     )
    RETURNING shard, epoch`,
};

/** Takes free shards, at most so many; returns each with its new epoch. */
export async function takeShards(
  client: Queryable,
  replicaId: string,
  limit: number,
): Promise<Map<number, bigint>> {
  const { rows } = await client.query<HeldRow>(TAKE, [replicaId, limit]);
  return toHeld(rows);
}

const GIVE = {
  name: "ring-give",
  text: "UPDATE shard_owners SET owner = NULL WHERE owner = $1 AND shard = ANY($2::smallint[])",
};

/** Gives shards back; returns how many tasks in them wait for other tasks, by namespace. */
export async function giveShards(
  client: Queryable,
  replicaId: string,
  shards: readonly number[],
): Promise<Map<string, number>> {
  const blocked = await countBlocked(client, shards);
  await client.query(GIVE, [replicaId, shards]);
  await announce(client);
  return blocked;
}

interface HeldRow {
  readonly shard: number;
  readonly epoch: string;
}

function toHeld(rows: readonly HeldRow[]): Map<number, bigint> {
  return new Map(rows.map((row) => [row.shard, BigInt(row.epoch)]));
}

/** Delivered when the transaction commits. A ring changes rarely, so this costs other commits nothing. */
async function announce(client: Queryable): Promise<void> {
  await client.query({ name: "ring-announce", text: `SELECT pg_notify('${RING_CHANNEL}', '')` });
}
