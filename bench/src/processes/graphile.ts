/** graphile-worker as a process of its own: the runner with its task in the process, or the program that adds jobs. */
import { createPool, type Pool } from "@nexus/postgres";
import { Logger, makeWorkerUtils, type Runner, run, type WorkerUtils } from "graphile-worker";
import { bulksOf, type PeerCommands } from "../peers/peer-commands.ts";
import { GRAPHILE, GRAPHILE_BATCHING } from "../peers/peer-settings.ts";
import { serveCommands } from "./command-channel.ts";

const JOBS = "graphile_worker._private_jobs";
/** Jobs that are added between two vacuums. */
const VACUUM_EACH = 20_000;

/** By default each job is a line on standard output. */
const SILENT = new Logger(() => () => undefined);

let runner: Runner | undefined;
let utils: WorkerUtils | undefined;
let pool: Pool | undefined;
let handled = 0;
let task = "";
let addedSinceVacuum = 0;

function opened() {
  if (utils === undefined || pool === undefined) throw new Error("the queue was not opened");
  return { utils, pool };
}

/** Autovacuum comes when it comes. At a moment when few jobs wait it tells the planner of an empty table, and the plans of then, which the
 * worker keeps, are a hundred times too slow for the table of the next moment. So it is done here, when jobs have just been added. */
async function vacuum(): Promise<void> {
  await opened().pool.query(`VACUUM (ANALYZE) ${JOBS}`);
}

serveCommands<PeerCommands>({
  work: async ({ url, queue, batched }) => {
    const worker = {
      connectionString: url,
      ...GRAPHILE,
      ...(batched ? GRAPHILE_BATCHING : {}),
    };
    const handle = () => {
      handled += 1;
    };
    runner = await run({
      preset: { worker },
      logger: SILENT,
      noHandleSignals: true,
      taskList: { [queue]: handle },
    });
  },
  handled: async () => handled,
  open: async ({ url, queue }) => {
    task = queue;
    utils = await makeWorkerUtils({ connectionString: url, logger: SILENT });
    await utils.migrate();
    const applicationName = "nexus-bench";
    pool = createPool({ url, max: 1, applicationName, schema: "graphile_worker" });
    await pool.query(`ALTER TABLE ${JOBS} SET (autovacuum_enabled = off)`);
  },
  add: async (count) => {
    for (const size of bulksOf(count)) {
      const jobs = Array.from({ length: size }, (_, number) => ({
        identifier: task,
        payload: { number },
      }));
      await opened().utils.addJobs(jobs);
    }
    addedSinceVacuum += count;
    if (addedSinceVacuum < VACUUM_EACH) return;
    addedSinceVacuum = 0;
    await vacuum();
  },
  // A completed job is a deleted row, and the runner's own event comes before that is committed.
  remaining: async () => {
    const { rows } = await opened().pool.query<{ count: number }>(
      `SELECT count(*)::float8 AS count FROM ${JOBS}`,
    );
    return rows[0]?.count ?? 0;
  },
  // The database goes away as a whole.
  close: async () => {
    await runner?.stop();
    await utils?.release();
    await pool?.close();
  },
});
