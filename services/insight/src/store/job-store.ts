/** Sums over one job, out of its packs: a job has at most some ten thousand attempts, and an index of its own. */
import type { Pool } from "@nexus/postgres";
import { PerformanceTally } from "../domain/performance-tally.ts";
import type { JobPerformance } from "../domain/ports.ts";
import { eachPack } from "./pack-store.ts";

/** Agents listed for one job; the contract's number. */
const JOB_AGENTS_MAX = 1_000;

/** One job; undefined when nothing of it is stored. */
export async function readJob(
  pool: Pool,
  namespace: string,
  jobId: string,
): Promise<JobPerformance | undefined> {
  const total = new PerformanceTally();
  const byAgent = new Map<string, PerformanceTally>();
  const query = { where: "job_id = $1 AND namespace = $2", values: [jobId, namespace] };
  await eachPack(pool, query, ({ attempts }) => {
    for (const attempt of attempts) {
      const { agentId } = attempt.kind;
      const tally = byAgent.get(agentId) ?? new PerformanceTally();
      byAgent.set(agentId, tally);
      tally.add(attempt);
      total.add(attempt);
    }
  });
  if (total.attempts === 0) return undefined;
  const agents = [...byAgent].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, JOB_AGENTS_MAX);
  return {
    total: total.summary(),
    agents: agents.map(([name, tally]) => ({ name, performance: tally.summary() })),
  };
}
