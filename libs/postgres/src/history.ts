/** Notices that the database goes on from another history than it had: a standby took over, or a backup was played back. Postgres begins a new
 * timeline then, and commits that this process saw may be gone. A restart of the same server loses nothing and begins none. */
import { NexusError } from "@nexus/shared";
import type { Queryable } from "./queryable.ts";

/** Null on a standby. */
const READ_HISTORY = {
  name: "history",
  text: `
SELECT CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE system_identifier::text || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
       END AS history
  FROM pg_control_system()`,
};

/** Owns the one history that a pool's connections share. */
export class HistoryGuard {
  #history: string | undefined;
  #refusal: NexusError | undefined;
  #onChange: ((error: NexusError) => void) | undefined;

  /** Calls back once, when the first connection to another history was refused. */
  onChange(listener: (error: NexusError) => void): void {
    this.#onChange = listener;
  }

  /** Looks at a connection before its first use.
   *
   * Errors: unavailable/DATABASE_HISTORY_CHANGED, from the first connection to another history on; unavailable/DATABASE_UNAVAILABLE for a
   * standby, which may take over under a connection that was made before; those of the statement. */
  async admit(client: Queryable): Promise<void> {
    const { rows } = await client.query<{ history: string | null }>(READ_HISTORY);
    if (this.#refusal !== undefined) throw this.#refusal;
    const history = rows[0]?.history ?? undefined;
    if (history === undefined) throw standby();
    this.#history ??= history;
    if (history === this.#history) return;
    this.#refusal = new NexusError({
      kind: "unavailable",
      reason: "DATABASE_HISTORY_CHANGED",
      message:
        "the database goes on from another history than this process knows, so commits that it saw may be gone; it has to begin anew",
    });
    this.#onChange?.(this.#refusal);
    throw this.#refusal;
  }
}

function standby(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "DATABASE_UNAVAILABLE",
    message: "the database is a standby that has not taken over",
  });
}
