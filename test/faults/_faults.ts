/** The faults that campaigns choose from. */
import { sleep } from "@nexus/shared";
import { PAUSE_MAX_MS, PAUSE_MIN_MS } from "./_agents.ts";
import { type Bed, ORCHESTRATORS } from "./_bed.ts";
import type { Fault } from "./_nemesis.ts";

const BACKENDS_MAX = 6;
/** How long the tables are held, for statements to come that wait for them. */
const HELD_MS = 300;

/** Whom faults stop; each is started again at once, or goes on. */
export const VICTIMS = [...ORCHESTRATORS, "mesh-router", "gateway"] as const;

/** Kills an orchestrator, the router or the gateway. */
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

/** Stops an orchestrator, the router or the gateway in good order, and starts it again. */
export function restartAService({ fleet }: Bed): Fault {
  const { processes } = fleet.stack;
  return {
    name: "restart a service",
    play: async (random, say) => {
      const name = random.pick(VICTIMS);
      say(`restarts ${name}`);
      await processes.restart(name);
    },
  };
}

/** Stops an orchestrator, the router or the gateway and lets it go on. */
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

/** Holds the states of all tasks for a moment, and has every statement fail that waits for them: as one does that runs out of time. */
export function cancelStatements({ tables }: Bed, onCancelled: (count: number) => void): Fault {
  return {
    name: "cancel statements",
    play: async (_random, say) => {
      const client = await tables.connect();
      try {
        await client.query("BEGIN");
        await client.query("LOCK TABLE task_states IN ACCESS EXCLUSIVE MODE");
        await sleep(HELD_MS);
        const { rows } = await client.query<{ n: number }>(
          `SELECT count(pg_cancel_backend(pid))::int AS n FROM pg_stat_activity
            WHERE usename = 'nexus_orchestrator' AND wait_event_type = 'Lock'`,
        );
        await client.query("COMMIT");
        onCancelled(rows[0]?.n ?? 0);
        say(`cancels ${rows[0]?.n} statements`);
      } finally {
        client.release();
      }
    },
  };
}
