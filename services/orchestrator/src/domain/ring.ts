/** The replicas and what they own, as one of them last saw it. */

/** A view of the ring; may be a moment old, which costs a call one more hop and nothing else. */
export interface Ring {
  /** Live replicas: id to address. */
  readonly replicas: ReadonlyMap<string, string>;
  /** Owned shards: shard to replica id. */
  readonly owners: ReadonlyMap<number, string>;
}

/** A ring that nobody has joined. */
export const EMPTY_RING: Ring = { replicas: new Map(), owners: new Map() };
