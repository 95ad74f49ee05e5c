/** graphile-worker as a process of its own: the runner with its task in the process, or the program that adds jobs. */
import { createPool, type Pool } from "@nexus/postgres";
import { Logger, makeWorkerUtils, type Runner, run, type WorkerUtils } from "graphile-worker";
import { bulksOf, type PeerCommands } from "../peers/peer-commands.ts";
import { GRAPHILE, GRAPHILE_BATCHING } from "../peers/peer-settings.ts";
import { serveCommands } from "./command-channel.ts";

/** By default each job is a line on standard output. */
const SILENT = new Logger(() => () => undefined);

let runner: Runner | undefined;
let utils: WorkerUtils | undefined;
let pool: Pool | undefined;
let handled = 0;
let task = "";

function opened() {
  if (utils === undefined || pool === undefined) throw new Error("the queue was not opened");
  return { utils, pool };
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
  },
  add: async (count) => {
    for (const size of bulksOf(count)) {
      const jobs = Array.from({ length: size }, (_, number) => ({
        identifier: task,
        payload: { number },
      }));
      await opened().utils.addJobs(jobs);
    }
  },
  // A completed job is a deleted row, and the runner's own event comes before that is committed.
  remaining: async () => {
    const { rows } = await opened().pool.query<{ count: number }>(
      "SELECT count(*)::float8 AS count FROM graphile_worker._private_jobs",
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
