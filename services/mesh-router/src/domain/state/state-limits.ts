/** Every number that bounds state. Over a limit there is a typed refusal, never growth. */
import { KiB, MiB } from "@nexus/shared";

/** A bucket's quota where its maker does not say. */
export const KEYS_DEFAULT = 10_000;
export const BYTES_DEFAULT = 64 * MiB;
export const VALUE_BYTES_MAX = 256 * KiB;
export const WATCHERS_DEFAULT = 1_000;

/** What the quotas of all buckets of a namespace may add up to; settings. */
export const NAMESPACE_BUCKETS_MAX = 1_000;
export const NAMESPACE_KEYS_MAX = 10_000_000;
export const NAMESPACE_BYTES_MAX = 16 * 1024 * MiB;

/** Rows of a bucket, deleted keys that are remembered included, for each key that it may have. */
export const ROWS_PER_KEY = 2;

/** What a version costs beside its value, for accounting. */
export const VERSION_OVERHEAD_BYTES = 64;

/** Versions of one key that do not know of each other. Riak warns at 100 and more; each is a value. */
export const SIBLINGS_MAX = 64;

/** Bytes of all versions of one key: an entry must fit into an answer. */
export const ENTRY_BYTES_MAX = 1 * MiB;

/** How far ahead of the database a writer's clock may be. Machines that keep time are within a second. */
export const CLOCK_DRIFT_MAX_MS = 10_000;

/** How long deleted keys are remembered; a setting. */
export const TOMBSTONES_KEPT_MS = 86_400_000;

/** The change log of a bucket: how long, how many changes and how many bytes are kept; the first two are settings. */
export const LOG_KEPT_MS = 86_400_000;
export const LOG_CHANGES_MAX = 1_000_000;
export const LOG_BYTES_MAX = 256 * MiB;

/** Rows of the log that one step looks at and drops, for each bucket. */
export const LOG_TRIM_ROWS = 500;
/** Buckets whose log one step trims. */
export const LOG_TRIM_BUCKETS = 100;

/** Calls that one transaction commits, and their bytes. */
export const WRITE_BATCH = 512;
export const WRITE_BATCH_BYTES = 8 * MiB;

/** Writes that one transaction commits, if they are of several calls. */
export const WRITE_BATCH_OPS = 2_048;
/** Bytes of stored values that one transaction reads to decide on writes. */
export const STORED_BYTES_MAX = 32 * MiB;

/** Calls that wait for their commit, and their bytes. */
export const WRITES_QUEUED_MAX = 10_000;
export const WRITES_QUEUED_BYTES_MAX = 64 * MiB;

/** Calls that wait for a bucket that somebody else holds, for each such bucket, and buckets that are waited for at once: each takes a
 * connection. */
export const HELD_CALLS_MAX = 1_000;
export const HELD_AT_ONCE = 2;

/** Bytes of keys that are remembered between writes, over all buckets, and what an entry takes beside its value. */
export const REMEMBERED_BYTES_MAX = 32 * MiB;
export const REMEMBERED_ENTRY_BYTES = 512;
/** A larger entry is read again. */
export const REMEMBERED_VALUE_BYTES_MAX = 4 * KiB;

/** Keys that one statement reads, reads that wait, and statements at once. */
export const READ_BATCH = 128;
export const READS_QUEUED_MAX = 20_000;
export const READS_AT_ONCE = 2;
/** Buckets that one statement looks at, for keys that are remembered. */
export const SIGHT_BATCH = 256;

/** Lists, snapshots and reads of the log that wait, and that run at once: they must leave connections to the others. */
export const SCANS_QUEUED_MAX = 10_000;
export const SCANS_AT_ONCE = 2;

/** Bytes of one answer of a list, a batch or a watch, a single larger item apart. */
export const ANSWER_BYTES_MAX = 2 * MiB;
/** Bytes of what is stored that the answer to refused writes carries. */
export const CURRENT_BYTES_MAX = 1 * MiB;
/** Keys or changes in one message of a watch. */
export const WATCH_ITEMS_MAX = 512;

/** Changes of one bucket in memory for its watchers, and their bytes. Who is further behind reads the log. */
export const TAIL_CHANGES_MAX = 4_096;
export const TAIL_BYTES_MAX = 4 * MiB;
/** Bytes of the changes of all buckets in memory. */
export const TAILS_BYTES_MAX = 64 * MiB;
/** How often the database is asked for changes that nobody told of; a setting. */
export const STATE_ASK_INTERVAL_MS = 500;
/** Watches of a namespace on one replica. */
export const WATCHERS_PER_NAMESPACE = 10_000;

/** Keys that one round of the sweep expires or forgets, and rounds of one step. */
export const SWEEP_BATCH = 500;
export const SWEEP_ROUNDS_MAX = 20;
/** Rows of a deleted bucket that one statement removes. */
export const DROP_BATCH = 5_000;
