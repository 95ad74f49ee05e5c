/** The faults that campaigns choose from. */
import { sleep } from "@nexus/shared";
import { PAUSE_MAX_MS, PAUSE_MIN_MS } from "./_agents.ts";
import { type Bed, ORCHESTRATORS } from "./_bed.ts";
import type { Fault } from "./_nemesis.ts";

const BACKENDS_MAX = 6;

const VICTIMS = [...ORCHESTRATORS, "mesh-router"] as const;

/** Kills an orchestrator or the router; it is started again at once. */
export function killAService({ fleet }: Bed): Fault {
  const { processes } = fleet.stack;
  return {
    name: "kill a service",
    play: async (random, say) => {
      const name = random.pick(VICTIMS);
      say(`kills ${name}`);
      await processes.kill(name);
      await processes.waitReady(name);
    },
  };
}

/** Stops an orchestrator or the router and lets it go on. */
export function pauseAService({ fleet }: Bed): Fault {
  const { processes } = fleet.stack;
  return {
    name: "pause a service",
    play: async (random, say) => {
      const name = random.pick(VICTIMS);
      const pauseMs = random.between(PAUSE_MIN_MS, PAUSE_MAX_MS);
      say(`pauses ${name} for ${pauseMs} ms`);
      await processes.kill(name, "SIGSTOP");
      await sleep(pauseMs);
      await processes.kill(name, "SIGCONT");
      await processes.waitReady(name);
    },
  };
}

/** Ends some of the services' connections to the database, whatever they are in the middle of. */
export function endBackends({ tables }: Bed, onEnded: (count: number) => void): Fault {
  return {
    name: "end backends",
    play: async (random, say) => {
      const { rows } = await tables.query<{ application_name: string }>(
        `SELECT application_name, pg_terminate_backend(pid) FROM (
           SELECT pid, application_name FROM pg_stat_activity
            WHERE usename = 'nexus_orchestrator' OR (usename LIKE 'nexus%' AND state <> 'idle')
            ORDER BY random() LIMIT $1) AS victims`,
        [random.between(1, BACKENDS_MAX)],
      );
      onEnded(rows.length);
      say(`ends ${rows.length} connections`);
    },
  };
}
