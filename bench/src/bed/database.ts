/** What the database has done, as its own statistics tell it. Reads no table of any service. */
import { createPool } from "@nexus/postgres";

/** The stack's database, and the schema whose rows are counted. */
const DATABASE = "nexus";
const SCHEMA = "orchestrator";
/** Some gigabytes are gone through. */
const TIDY_TIMEOUT_MS = 120_000;

/** Counters of the server since its start: differences are what matters. */
export interface DatabaseCounters {
  readonly walBytes: number;
  readonly commits: number;
  /** Rows of the orchestrator's tables. An update and a delete each leave a dead row, vacuumed or not. */
  readonly rowsInserted: number;
  readonly rowsUpdated: number;
  readonly rowsDeleted: number;
}

/** Reads the counters; sessions report theirs with up to a second of delay. */
export interface DatabaseProbe {
  read(): Promise<DatabaseCounters>;
  close(): Promise<void>;
}

const QUERY = `
  SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 AS "walBytes",
         (SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()) AS commits,
         coalesce(sum(n_tup_ins), 0)::float8 AS "rowsInserted",
         coalesce(sum(n_tup_upd), 0)::float8 AS "rowsUpdated",
         coalesce(sum(n_tup_del), 0)::float8 AS "rowsDeleted"
    FROM pg_stat_user_tables WHERE schemaname = '${SCHEMA}'`;

/** Connects to the stack's database as the superuser of its server. */
export function openDatabaseProbe(postgresUrl: string): DatabaseProbe {
  const pool = openPool(postgresUrl, DATABASE);
  return {
    read: async () => {
      const { rows } = await pool.query<{ [K in keyof DatabaseCounters]: number }>(QUERY);
      const [row] = rows;
      if (row === undefined) throw new Error("the database has no statistics");
      return row;
    },
    close: () => pool.close(),
  };
}

/** Does at once what autovacuum and the next checkpoint would do for what was just written: they would otherwise take their part of the
 * machine within the minute, in the middle of what is measured next. */
export async function tidyDatabase(postgresUrl: string): Promise<void> {
  const pool = openPool(postgresUrl, DATABASE, TIDY_TIMEOUT_MS);
  try {
    await pool.query("VACUUM (ANALYZE)");
    await pool.query("CHECKPOINT");
  } finally {
    await pool.close();
  }
}

/** Runs something on a database of its own on the same server, with the same settings, and removes the database. */
export async function withOwnDatabase<T>(
  postgresUrl: string,
  name: string,
  use: (url: string) => Promise<T>,
): Promise<T> {
  const admin = openPool(postgresUrl, "postgres");
  try {
    await admin.query(`CREATE DATABASE ${name}`);
    try {
      return await use(urlOf(postgresUrl, name));
    } finally {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    }
  } finally {
    await admin.close();
  }
}

function openPool(postgresUrl: string, database: string, statementTimeoutMs?: number) {
  const url = urlOf(postgresUrl, database);
  const timeout = statementTimeoutMs === undefined ? {} : { statementTimeoutMs };
  return createPool({ url, max: 1, applicationName: "nexus-bench", schema: "public", ...timeout });
}

function urlOf(postgresUrl: string, database: string): string {
  const url = new URL(postgresUrl);
  url.pathname = `/${database}`;
  return url.href;
}
