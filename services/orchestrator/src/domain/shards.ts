/** Which part of the jobs a job belongs to. A replica owns whole shards, and writes for the shards it owns only. */

/** How many parts there are. Part of what is stored: it never changes. */
export const SHARDS = 64;

const BYTE_DIGITS = 2;

/** Returns the shard of a job or task, from its id alone: the low six bits of the id's last byte. */
export function shardOf(id: string): number {
  return lastByteOf(id) % SHARDS;
}

/** The value of each hexadecimal digit by its character code: a dozen looks at each task's id, and a text cut off costs five times as much. */
const DIGITS: readonly number[] = Array.from({ length: 128 }, (_, code) =>
  Number.parseInt(String.fromCharCode(code), 16),
);

/** NaN where the id does not end in two digits. */
function lastByteOf(id: string): number {
  const high = DIGITS[id.charCodeAt(id.length - 2)] ?? Number.NaN;
  const low = DIGITS[id.charCodeAt(id.length - 1)] ?? Number.NaN;
  return 16 * high + low;
}

/** Returns the id moved into a shard: its last byte keeps the high two bits only. */
export function toShard(id: string, shard: number): string {
  const byte = lastByteOf(id);
  const moved = byte - (byte % SHARDS) + shard;
  return id.slice(0, -BYTE_DIGITS) + moved.toString(16).padStart(BYTE_DIGITS, "0");
}

/** Returns a task's id as the shard of its job needs it: whoever sees a task knows its shard. */
export function inShardOf(taskId: string, jobId: string): string {
  return toShard(taskId, shardOf(jobId));
}

/** How many shards each of several replicas should own: as equal as it gets, the rest to the first ones by id. */
export function fairShare(replicaId: string, replicaIds: readonly string[]): number {
  const rank = [...replicaIds].sort().indexOf(replicaId);
  if (rank === -1) return 0;
  const base = Math.floor(SHARDS / replicaIds.length);
  return base + (rank < SHARDS % replicaIds.length ? 1 : 0);
}
