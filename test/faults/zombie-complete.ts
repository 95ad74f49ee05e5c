/** An agent stopped until its session is lost and another has done its task: its own word comes too late and counts for nothing. The SDK
 * forgets leases with their session, so an agent without one says what the SDK would not. */
import { randomUUID } from "node:crypto";
import { JobState, type NexusClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { readHistory } from "./_append-load.ts";
import { type Bed, type BedAgent, LIVENESS_MS, uuidOf } from "./_bed.ts";
import { belowMinimum, type Campaign, playRounds, type Verdict } from "./_campaign.ts";
import { findViolations } from "./_history.ts";
import { STALE_WORDS, sayStaleWords } from "./_stale-words.ts";

const CAPABILITY = "zombie.wait";
const SLOTS = 2;
/** Ends by itself on the second agent, while the first is stopped. */
const SHORT_MS = 500;
/** Still runs on both agents when the first wakes. */
const LONG_MS = 600_000;

/** The campaign. */
export const zombieComplete: Campaign = {
  name: "zombie-complete",
  about: "an agent without its lease any more: every word of it is refused, its task stopped",
  shortMs: 0,
  play: async (bed, options) => {
    const { client } = await bed.fleet.createUser();
    const { counts, problems } = await playRounds(options, async (number) => {
      const woken = await wakeZombie({ bed, client, number, progress: options.progress });
      const spoken = await sayStaleWords({ bed, client, number });
      return {
        counts: { ...woken.counts, ...spoken.counts },
        problems: [...woken.problems, ...spoken.problems],
      };
    });
    const minimums = { "told to stop": 1, ...STALE_WORDS };
    return { counts, problems: [...belowMinimum(counts, minimums), ...problems] };
  },
};

interface Round {
  readonly bed: Bed;
  readonly client: NexusClient;
  readonly number: number;
  readonly progress: (text: string) => void;
}

async function wakeZombie({ bed, client, number, progress }: Round): Promise<Verdict> {
  const zombie = await bed.spawn(`zombie-${number}`, SLOTS, { capability: CAPABILITY });
  const short = await submitTasks(client, [task("short", SHORT_MS)]);
  const long = await submitTasks(client, [task("long", LONG_MS)]);
  await untilSaid(zombie, "long", "began");
  zombie.child.kill("SIGSTOP");
  progress("an agent is stopped with its tasks in hand");
  const heir = await bed.spawn(`heir-${number}`, SLOTS, { capability: CAPABILITY });
  try {
    await untilSaid(heir, "long", "began");
    await waitForEnd(client, short, LIVENESS_MS);
    progress("another has done one task and works at the other; the first goes on");
    zombie.child.kill("SIGCONT");
    await untilSaid(zombie, "long", "told to stop");
    const still = await attemptsOf(bed, long);
    await client.jobs.cancelJob({ requestId: randomUUID(), jobId: long });
    await untilSaid(heir, "long", "told to stop");
    return {
      counts: { "told to stop": 1 },
      problems: [
        ...(still.join() === "LOST:zombie" ? [] : [`the living lease was ended: ${still.join()}`]),
        ...(await judge(client, short, JobState.COMPLETED, "short")),
        ...(await judge(client, long, JobState.CANCELLED, "long")),
        ...checkAttempts(await attemptsOf(bed, short), ["LOST:zombie", "SUCCEEDED:heir"]),
        ...checkAttempts(await attemptsOf(bed, long), ["LOST:zombie", "CANCELLED:heir"]),
      ],
    };
  } finally {
    zombie.child.kill("SIGKILL");
    heir.child.kill("SIGKILL");
  }
}

function task(key: string, ms: number) {
  return { key, capability: CAPABILITY, input: { ms, obey: true } };
}

async function untilSaid(agent: BedAgent, key: string, what: string): Promise<void> {
  await waitFor(() => agent.words.some((word) => word.key === key && word.what === what), {
    timeoutMs: LIVENESS_MS,
    what: `an agent to say of ${key}: ${what}`,
  });
}

/** Ended attempts with the kind of agent that had them, in order. */
async function attemptsOf(bed: Bed, jobId: string): Promise<string[]> {
  const { rows } = await bed.tables.query<{ ended: string }>(
    `SELECT a.outcome || ':' || split_part(a.agent_id, '-', 1) AS ended
       FROM attempts a JOIN tasks t USING (task_id) WHERE t.job_id = $1 ORDER BY a.attempt`,
    [uuidOf(jobId)],
  );
  return rows.map(({ ended }) => ended);
}

function checkAttempts(found: readonly string[], expected: readonly string[]): string[] {
  return found.join() === expected.join()
    ? []
    : [`attempts were ${found.join()}, not ${expected.join()}`];
}

async function judge(
  client: NexusClient,
  jobId: string,
  state: JobState,
  key: string,
): Promise<string[]> {
  const job = await waitForEnd(client, jobId, LIVENESS_MS);
  const told = await readHistory(client, job);
  const wrong = job.state === state ? [] : [`${key} ended as ${JobState[job.state]}`];
  const appended = { element: jobId, tasks: [key], acknowledged: [jobId] };
  return [...wrong, ...findViolations([appended], [{ ...told, element: jobId }])];
}
