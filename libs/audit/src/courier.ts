import { type Pool, withTransaction } from "@nexus/postgres";
import { AuditIntakeService } from "@nexus/proto/vault";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc";
import { ENTRY_BYTES_MAX, encodeQuarantineNotice } from "./quarantine.ts";

/** Entries in one call; the contract takes no more. */
export const TELL_MAX = 512;
/** Bytes of drafts in one call, beyond which the rest has to wait for the next: half of what a message may have. */
export const TELL_BYTES_MAX = 2 * 1024 * 1024;
/** How long one call may take. */
export const TELL_TIMEOUT_MS = 5000;
/** Advisory lock of whoever gives positions in a schema: "NXAO". */
const LOCK_CLASS = 0x4e58414f;

/** Asked first: most of the time nothing waits, and the rest is a transaction of statements that are planned anew. By the key, for at
 * the front of the table lie the rows that were told. */
const HAS_WAITING = {
  name: "audit-has-waiting",
  text: "SELECT min(entry_no) IS NOT NULL AS waits FROM audit_outbox",
};
const TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema())) AS mine";

// Positions are given to what is committed, and only when all that had one is told: so entries are told in the order of their
// positions, whoever tells them, and none is committed behind a position that vault has passed.
const GIVE_POSITIONS = `
  WITH fresh AS (
    SELECT entry_no, row_number() OVER (ORDER BY entry_no) AS place
    FROM (SELECT entry_no FROM audit_outbox ORDER BY entry_no LIMIT $1) oldest
    WHERE NOT EXISTS (SELECT FROM audit_outbox told WHERE told.position IS NOT NULL)
  ), numbered AS (
    UPDATE audit_outbox o SET position = s.position + fresh.place
    FROM fresh, audit_stream s WHERE o.entry_no = fresh.entry_no
    RETURNING o.position
  )
  UPDATE audit_stream s SET position = newest.position
  FROM (SELECT max(position) AS position FROM numbered) newest WHERE newest.position IS NOT NULL`;

const TO_TELL = `
  SELECT s.stream, o.position, (extract(epoch FROM o.committed_at) * 1000000)::bigint AS "timeUs",
    octet_length(o.draft) AS "sizeBytes",
    CASE WHEN octet_length(o.draft) <= $2 THEN o.draft END AS draft,
    CASE WHEN octet_length(o.draft) > $2 THEN sha256(o.draft) END AS digest
  FROM audit_outbox o, audit_stream s WHERE o.position IS NOT NULL ORDER BY o.position LIMIT $1`;

const FORGET = `
  DELETE FROM audit_outbox o USING audit_stream s
  WHERE s.stream = $1 AND s.position >= $2 AND o.position <= $2`;

// Vault answers with a position that was never given here: it has taken more of the stream, or other entries at these positions.
// The database is an older copy of itself, and what has these positions was never told. It begins again under another name.
const BEGIN_ANEW = `
  WITH renamed AS (
    UPDATE audit_stream SET stream = gen_random_uuid()::text, position = 0
    WHERE stream = $1 AND position < $2 RETURNING stream
  )
  UPDATE audit_outbox SET position = NULL FROM renamed WHERE position IS NOT NULL`;

/** What a courier needs. */
export interface CourierOptions {
  /** NEXUS service name. */
  readonly service: string;
  readonly pool: Pool;
  /** Of vault. */
  readonly channel: RpcChannel;
  /** The service's own. */
  readonly tokens: TokenSource;
  /** Hears of entries that are too large for vault: it was told of each that there was one. */
  readonly onTooLarge?: (count: number) => void;
}

/** Tells vault what a service has committed to its outbox. */
export interface Courier {
  /** Tells what waits. For a loop. Safe from many replicas: vault takes each position of a stream once. */
  tell(signal: AbortSignal): Promise<void>;
}

interface Row {
  readonly stream: string;
  readonly position: string;
  readonly timeUs: string;
  readonly sizeBytes: number;
  /** null: it is too large, and this is its digest. */
  readonly draft: Buffer | null;
  readonly digest: Buffer | null;
}

/** Creates the courier of a service's outbox. */
export function createCourier(options: CourierOptions): Courier {
  const { service, pool, channel, tokens, onTooLarge } = options;
  const intake = createRpcClient(AuditIntakeService, channel, {
    tokens,
    timeoutMs: TELL_TIMEOUT_MS,
  });

  /** Returns whether there may be more. */
  async function tellSome(signal: AbortSignal): Promise<boolean> {
    const gave = await withTransaction(pool, async (client) => {
      const { rows } = await client.query<{ mine: boolean }>(TRY_LOCK, [LOCK_CLASS]);
      if (rows[0]?.mine !== true) return false;
      return (await client.query(GIVE_POSITIONS, [TELL_MAX])).rowCount > 0;
    });
    const { rows: waiting } = await pool.query<Row>(TO_TELL, [TELL_MAX, ENTRY_BYTES_MAX]);
    const rows = firstThatFit(waiting);
    const stream = rows[0]?.stream;
    if (stream === undefined) return false;
    const entries = rows.map((row) => ({
      position: BigInt(row.position),
      draft: row.draft ?? noticeOf(service, row),
      timeUs: BigInt(row.timeUs),
    }));
    const { position } = await intake.appendEntries({ stream, entries }, { signal });
    const forgotten = await pool.query(FORGET, [stream, position]);
    if (forgotten.rowCount === 0) await pool.query(BEGIN_ANEW, [stream, position]);
    const tooLarge = rows.filter(({ draft }) => draft === null).length;
    if (tooLarge > 0 && forgotten.rowCount > 0) onTooLarge?.(tooLarge);
    // What had its positions from before may have kept others waiting for theirs.
    return !gave || rows.length < waiting.length || rows.length === TELL_MAX;
  }

  return {
    async tell(signal) {
      const { rows } = await pool.query<{ waits: boolean }>(HAS_WAITING);
      let more = rows[0]?.waits === true;
      while (more && !signal.aborted) more = await tellSome(signal);
    },
  };
}

/** The first of them, as many as one message holds. */
function firstThatFit(rows: readonly Row[]): readonly Row[] {
  let bytes = 0;
  const end = rows.findIndex(({ draft }) => {
    bytes += draft?.byteLength ?? 0;
    return bytes > TELL_BYTES_MAX;
  });
  return end < 0 ? rows : rows.slice(0, end);
}

/** What is told in the place of an entry that is too large. */
function noticeOf(service: string, row: Row): Uint8Array {
  const { stream, sizeBytes, digest } = row;
  return encodeQuarantineNotice(service, {
    service,
    stream,
    position: BigInt(row.position),
    problem: "too large",
    sizeBytes,
    digest: digest ?? Buffer.alloc(0),
  });
}
