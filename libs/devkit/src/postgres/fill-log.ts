import { createPool } from "@nexus/postgres";

/** 1 GiB, at most what a server of default settings keeps: one that was quiet for long keeps less, and makes files anew in a burst. */
const LOG_FILES = 64;
const TIMEOUT_MS = 120_000;

/** A file of the log is left for the next one only when there is something in it. */
const FILL_LOG = `
  SELECT count(pg_switch_wal()) FROM generate_series(1, ${LOG_FILES})
   WHERE pg_logical_emit_message(false, 'nexus', 'fills the log') IS NOT NULL`;

/** Gives a new server the log of one that has run for a while, which takes some seconds. Until then it makes each 16 MiB of log when they are
 * needed, with zeros, and every commit waits for that, 40 to 50 ms; after the first checkpoints it uses old files again.
 *
 * `url` is a superuser's. Errors: those of the pool; deadline after two minutes. */
export async function fillLog(url: string): Promise<void> {
  const pool = createPool({
    ...{ url, max: 1, applicationName: "nexus-fill-log", schema: "public" },
    statementTimeoutMs: TIMEOUT_MS,
  });
  try {
    await pool.query(FILL_LOG);
    await pool.query("CHECKPOINT");
  } finally {
    await pool.close();
  }
}
