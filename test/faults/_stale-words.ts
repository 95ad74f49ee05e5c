/** A holder that speaks by hand: it says all there is to say under a lease that it gave up and another agent has, first in the session
 * in which it had it, then in a new one; and then under the other's lease. No word may count, and each has its answer. */
import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import { createRpcChannel, type RpcChannel } from "@nexus/rpc";
import { fromPayload, JobState, type NexusClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import {
  BareAgent,
  type BareAgentOptions,
  type HeldLease,
  registerBareAgent,
  type Saying,
} from "../e2e/_bare-agent.ts";
import { submitTasks, waitForEnd } from "../e2e/_fleet.ts";
import { type Bed, LIVENESS_MS, uuidOf } from "./_bed.ts";
import type { Verdict } from "./_campaign.ts";
import { rowsOf } from "./_rows.ts";

const BEAT_MS = 500;
const KEY = "a";

const WORDS: readonly Saying[] = [
  { case: "accepted", value: {} },
  { case: "progress", value: { progress: 0.9, message: "nearly" } },
  { case: "chunk", value: { sequence: 1n, data: new TextEncoder().encode("stale") } },
  { case: "completed", value: { output: jsonOf('"the zombie\'s"') } },
  { case: "failed", value: { reason: "BAD_INPUT", message: "", retryable: false } },
];
const SITUATIONS = ["old session", "new session", "another's lease"] as const;

/** Every word must have been refused in every situation. */
export const STALE_WORDS: Readonly<Record<string, number>> = Object.fromEntries(
  SITUATIONS.flatMap((where) => WORDS.map((word) => [nameOf(word, where), 1])),
);

/** What a round needs. */
export interface StaleRound {
  readonly bed: Bed;
  readonly client: NexusClient;
  readonly number: number;
}

/** Plays one round with agents and a capability of its own. */
export async function sayStaleWords({ bed, client, number }: StaleRound): Promise<Verdict> {
  const channel = createRpcChannel({ address: bed.fleet.stack.info.gateway });
  const cast = { bed, channel, capability: `stale.work-${number}` };
  const agents: BeatingAgent[] = [];
  const open = async (agentId: string, token: string) => {
    const agent = new BeatingAgent(channel, { agentId, token });
    agents.push(agent);
    await agent.welcome();
    return agent;
  };
  try {
    const [zombieId, heirId] = [`stale-${number}`, `fresh-${number}`];
    const token = await registered(cast, zombieId);
    const before = await open(zombieId, token);
    const jobId = await submitTasks(client, [{ key: KEY, capability: cast.capability }]);
    const old = await before.assignment(LIVENESS_MS);
    before.accept(old);
    await untilRunning(bed, old);
    before.giveUp(old);
    await before.answersTo(old, 1);

    const heir = await open(heirId, await registered(cast, heirId));
    const fresh = await heir.assignment(LIVENESS_MS);
    heir.accept(fresh);
    heir.busySlots = 1;
    await untilRunning(bed, fresh);

    const rows = await rowsOf(bed, jobId);
    const counts: Record<string, number> = {};
    await refuseAll(before, old, SITUATIONS[0], counts);
    const after = await open(zombieId, token);
    after.giveUp();
    await refuseAll(after, old, SITUATIONS[1], counts);
    await refuseAll(after, fresh, SITUATIONS[2], counts);
    const touched = (await rowsOf(bed, jobId)) === rows ? [] : ["a refused word left a trace"];

    heir.complete(fresh, '"the heir\'s"');
    return { counts, problems: [...touched, ...(await judge(bed, client, jobId))] };
  } finally {
    for (const agent of agents) agent.cut();
    channel.close();
  }
}

/** Says one word after the other, each when the one before was answered, and counts those that were refused. */
async function refuseAll(
  agent: BeatingAgent,
  lease: HeldLease,
  where: (typeof SITUATIONS)[number],
  counts: Record<string, number>,
): Promise<void> {
  let answers = agent.refusalsOf(lease);
  for (const word of WORDS) {
    agent.say(lease, word);
    answers += 1;
    const name = nameOf(word, where);
    await waitFor(() => agent.refusalsOf(lease) >= answers, {
      timeoutMs: LIVENESS_MS,
      what: `a refusal of ${name}`,
    });
    counts[name] = 1;
  }
}

/** Stays alive by heartbeats. */
class BeatingAgent extends BareAgent {
  busySlots = 0;
  readonly #beats = setInterval(() => {
    this.send({ heartbeat: { busySlots: this.busySlots } });
  }, BEAT_MS);

  constructor(channel: RpcChannel, options: BareAgentOptions) {
    super(channel, options);
    void this.ended.then(() => clearInterval(this.#beats));
  }

  /** Takes no more work, and gives this back. */
  giveUp(lease?: HeldLease): void {
    this.send({ credit: { slots: 0 } });
    if (lease !== undefined) this.say(lease, { case: "released", value: { message: "tired" } });
  }

  /** Answers to ends of this lease, whatever they say. */
  async answersTo({ taskId, fence }: HeldLease, count: number): Promise<void> {
    const answers = () =>
      this.frames
        .flatMap(({ taskUpdateResults }) => taskUpdateResults)
        .filter((result) => result.taskId === taskId && result.fence === fence);
    await waitFor(() => answers().length >= count, {
      timeoutMs: LIVENESS_MS,
      what: "an answer to the end of a lease",
    });
  }

  /** How often this agent was told that it does not hold this lease. */
  refusalsOf({ taskId, fence }: HeldLease): number {
    const isIt = (one: HeldLease) => one.taskId === taskId && one.fence === fence;
    return this.frames.reduce((sum, { cancels, taskUpdateResults }) => {
      const stopped = cancels.filter((one) => isIt(one) && one.reason === "LEASE_LOST");
      const stale = taskUpdateResults.filter(
        (one) => isIt(one) && one.outcome === TaskUpdateOutcome.STALE,
      );
      return sum + stopped.length + stale.length;
    }, 0);
  }
}

/** The heir's end counted, once, and nothing of the other's is in the history. */
async function judge(bed: Bed, client: NexusClient, jobId: string): Promise<string[]> {
  const job = await waitForEnd(client, jobId, LIVENESS_MS);
  const result = fromPayload(job.results[KEY]);
  const { rows } = await bed.tables.query<{ ended: string; chunks: number }>(
    `SELECT string_agg(a.outcome || ':' || split_part(a.agent_id, '-', 1), ' ' ORDER BY a.attempt) AS ended,
            (SELECT count(*)::int FROM task_chunks c JOIN tasks t USING (task_id) WHERE t.job_id = $1) AS chunks
       FROM attempts a JOIN tasks t USING (task_id) WHERE t.job_id = $1`,
    [uuidOf(jobId)],
  );
  const found = `${JobState[job.state]} ${String(result)}, ${rows[0]?.ended}, ${rows[0]?.chunks} chunks`;
  const expected = "COMPLETED the heir's, RELEASED:stale SUCCEEDED:fresh, 0 chunks";
  return found === expected ? [] : [`${jobId} is ${found}; not ${expected}`];
}

async function untilRunning({ tables }: Bed, { taskId, fence }: HeldLease): Promise<void> {
  const text = `SELECT 1 FROM task_states WHERE task_id = $1 AND fence = $2 AND state = 'RUNNING'`;
  const isRunning = async () =>
    (await tables.query(text, [uuidOf(taskId), fence.toString()])).rowCount > 0;
  await waitFor(isRunning, { timeoutMs: LIVENESS_MS, what: "a task to run" });
}

function registered(
  { bed, channel, capability }: { bed: Bed; channel: RpcChannel; capability: string },
  agentId: string,
): Promise<string> {
  return registerBareAgent(bed.fleet, channel, agentId, capability);
}

function nameOf(word: Saying, where: string): string {
  return `${word.case}, ${where}`;
}

function jsonOf(text: string) {
  return { contentType: "application/json", data: new TextEncoder().encode(text) };
}
