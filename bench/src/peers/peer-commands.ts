/** What every peer's program can be told, so that one scenario drives them all. */

/** Jobs in one call to add: that of a job of ours at saturation. */
export const BULK_JOBS = 500;

/** Where a peer's jobs are. */
export interface PeerPlace {
  /** Connection string of its store. */
  readonly url: string;
  /** Name of the queue, or of the task. */
  readonly queue: string;
  /** Has the worker fetch and complete many jobs at once, where the peer can. */
  readonly batched: boolean;
}

/** A peer's program. It is started twice: one process works, one adds. */
export interface PeerCommands {
  /** Begins to take jobs and to do nothing with them. */
  work(place: PeerPlace): Promise<void>;
  /** How many jobs the handler of this process has been called for: tells when to add, not what is durable. */
  handled(args: null): Promise<number>;
  /** Opens an empty queue to add to. */
  open(place: PeerPlace): Promise<void>;
  /** Adds jobs in bulk; resolves when the store has acknowledged them. */
  add(count: number): Promise<void>;
  /** How many of the added jobs the store does not hold as completed yet. */
  remaining(args: null): Promise<number>;
  /** Ends work and connections, and removes what was left in the queue. */
  close(args: null): Promise<void>;
}

/** Sizes of the calls that add `count` jobs. */
export function bulksOf(count: number): number[] {
  const full = Math.floor(count / BULK_JOBS);
  const rest = count % BULK_JOBS;
  return [...Array.from({ length: full }, () => BULK_JOBS), ...(rest === 0 ? [] : [rest])];
}
