/** The shard of every row. Rows carry it, because ownership will be spread over shards by job id. */
export const SHARD = 0;
