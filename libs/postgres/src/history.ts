/** Notices that the database goes on from another history than it had: a standby took over, or a backup was played back. Postgres begins a new
 * timeline then, or its log is shorter than it was seen to be, and commits that this process saw may be gone. A restart of the same server
 * loses nothing: timeline and log go on. */
import { NexusError } from "@nexus/shared";
import type { Queryable } from "./queryable.ts";

/** Null on a standby. Places in the log are bytes since the server was made. */
const READ_HISTORY = {
  name: "history",
  text: `
SELECT CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE system_identifier::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
       END AS history,
       CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_current_wal_flush_lsn() - '0/0' END::bigint AS place
  FROM pg_control_system()`,
};

/** Owns the one history that a pool's connections share, and how far it was seen to be. */
export class HistoryGuard {
  #history: string | undefined;
  #place = 0n;
  #refusal: NexusError | undefined;
  readonly #listeners: ((error: NexusError) => void)[] = [];

  /** Calls back once, when another history was met; at once if that was before. */
  onChange(listener: (error: NexusError) => void): void {
    if (this.#refusal === undefined) this.#listeners.push(listener);
    else listener(this.#refusal);
  }

  /** Errors: unavailable/DATABASE_HISTORY_CHANGED once another history was met. */
  assertSame(): void {
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  /** Looks where a connection leads, within this time.
   *
   * Errors: unavailable/DATABASE_HISTORY_CHANGED, from the first connection to another history on; unavailable/DATABASE_UNAVAILABLE for a
   * standby, which may take over under a connection that was made before; those of the statement. */
  async look(client: Queryable, timeoutMs: number): Promise<void> {
    // Of another look meanwhile the answer may come first.
    const placeBefore = this.#place;
    const { rows } = await client.query<{ history: string | null; place: string }>({
      ...READ_HISTORY,
      readTimeoutMs: timeoutMs,
    });
    this.assertSame();
    const { history, place } = rows[0] as { history: string | null; place: string };
    if (history === null) throw standby();
    this.#history ??= history;
    if (history !== this.#history || BigInt(place) < placeBefore) this.#refuse();
    if (BigInt(place) > this.#place) this.#place = BigInt(place);
  }

  #refuse(): never {
    const refusal = new NexusError({
      kind: "unavailable",
      reason: "DATABASE_HISTORY_CHANGED",
      message:
        "the database goes on from another history than this process knows, so commits that it saw may be gone; it has to begin anew",
    });
    this.#refusal = refusal;
    for (const listener of this.#listeners) listener(refusal);
    throw refusal;
  }
}

function standby(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "DATABASE_UNAVAILABLE",
    message: "the database is a standby that has not taken over",
  });
}
