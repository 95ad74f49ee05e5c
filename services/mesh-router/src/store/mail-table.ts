/** The table of mail as a whole: how much of it is dead, and what frees it. */
import type { Pool, PoolClient, Queryable } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { COUNT_DEAD_MAIL, VACUUM_MAIL } from "./mail-sql.ts";

/** What became of a vacuum. */
export interface VacuumResult {
  /** False when there was none: somebody else is at it, or this role may not. */
  readonly hasRun: boolean;
  /** Rows that are dead afterwards, as the server counts them: up to a second late. */
  readonly dead: number;
}

/** Frees what dead rows of mail occupy. The signal cuts it off, and the wait for a connection.
 *
 * Errors: those of the pool; unavailable when it is cut off. */
export async function vacuumMail(pool: Pool, signal: AbortSignal): Promise<VacuumResult> {
  const client = await connectUnless(signal, pool);
  const cutOff = (): void => client.release(true);
  signal.addEventListener("abort", cutOff, { once: true });
  try {
    const before = await countDead(client);
    if (!signal.aborted) await client.query(VACUUM_MAIL);
    const after = await countDead(client);
    return { hasRun: after.vacuumed_at !== before.vacuumed_at, dead: after.dead };
  } finally {
    signal.removeEventListener("abort", cutOff);
    client.release();
  }
}

/** A connection that comes after all is given back. */
async function connectUnless(signal: AbortSignal, pool: Pool): Promise<PoolClient> {
  const connecting = pool.connect();
  let giveUp: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => {
      connecting.then((client) => client.release()).catch(() => undefined);
      reject(cutOffError());
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true });
  });
  try {
    return await Promise.race([connecting, aborted]);
  } finally {
    if (giveUp !== undefined) signal.removeEventListener("abort", giveUp);
  }
}

function cutOffError(): NexusError {
  const message = "The vacuum was cut off before it had a connection.";
  return new NexusError({ kind: "unavailable", reason: "DATABASE_UNAVAILABLE", message });
}

interface TableState {
  readonly dead: number;
  /** When the last VACUUM of somebody ended. */
  readonly vacuumed_at: string | null;
}

async function countDead(client: Queryable): Promise<TableState> {
  const { rows } = await client.query<TableState>(COUNT_DEAD_MAIL);
  return rows[0] ?? { dead: 0, vacuumed_at: null };
}
