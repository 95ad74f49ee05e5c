/** What the database has done, as its own statistics tell it. Reads no table of any service. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { StackInfo } from "@nexus/devkit";
import { createPool } from "@nexus/postgres";

/** Counters of the whole database since its start: differences are what matters. */
export interface DatabaseCounters {
  readonly walBytes: number;
  readonly commits: number;
  /** Rows of the orchestrator that are dead and not vacuumed yet. */
  readonly deadTuples: number;
}

/** Reads the counters; sessions report theirs with up to a second of delay. */
export interface DatabaseProbe {
  read(): Promise<DatabaseCounters>;
  close(): Promise<void>;
}

const QUERY = `
  SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 AS wal_bytes,
         (SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()) AS commits,
         (SELECT coalesce(sum(n_dead_tup), 0)::float8 FROM pg_stat_user_tables WHERE schemaname = 'orchestrator')
           AS dead_tuples`;

/** Connects as the orchestrator's role, whose password the stack keeps in its data directory. */
export function openDatabaseProbe(info: StackInfo): DatabaseProbe {
  const secrets = JSON.parse(readFileSync(join(info.dataDir, "secrets.json"), "utf8")) as {
    readonly databasePasswords: Readonly<Record<string, string>>;
  };
  const url = new URL(`postgres://nexus_orchestrator@127.0.0.1:${info.postgres.port}/nexus`);
  url.password = secrets.databasePasswords["orchestrator"] ?? "";
  const pool = createPool({
    url: url.href,
    max: 1,
    applicationName: "nexus-bench",
    schema: "orchestrator",
  });
  return {
    read: async () => {
      const { rows } = await pool.query<{
        wal_bytes: number;
        commits: number;
        dead_tuples: number;
      }>(QUERY);
      const [row] = rows;
      if (row === undefined) throw new Error("the database has no statistics");
      return { walBytes: row.wal_bytes, commits: row.commits, deadTuples: row.dead_tuples };
    },
    close: () => pool.close(),
  };
}
