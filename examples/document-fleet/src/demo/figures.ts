import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Latency, NexusClient } from "@nexus/sdk";
import type { Screen } from "./screen.ts";

const SAMPLES_TIMEOUT_MS = 5_000;
const SAMPLES_POLL_MS = 100;

/** Shows attempts, reputation and latency, as the services measured them. */
export async function showFigures(
  client: NexusClient,
  jobId: string,
  screen: Screen,
): Promise<void> {
  await showAttempts(client, jobId, screen);
  await showReputations(client, jobId, screen);
  await showPerformance(client, jobId, screen);
}

async function showAttempts(client: NexusClient, jobId: string, screen: Screen): Promise<void> {
  const { tasks } = await client.jobs.listTasks({ jobId, page: { pageSize: 1_000 } });
  const attempts = tasks.reduce((sum, task) => sum + task.attempts, 0);
  screen.heading(`Attempts: ${attempts} for ${tasks.length} tasks`);
  const repeated = tasks.filter((task) => task.attempts > 1);
  const histories = await Promise.all(
    repeated.map(async ({ taskId, spec }) => {
      const { attempts: all } = await client.jobs.explainTask({ taskId });
      const steps = all.map(({ agentId, outcome, failure }) =>
        `${agentId} ${outcome} ${failure?.reason ?? ""}`.trimEnd(),
      );
      return [spec?.key ?? "", steps.join(" -> ")];
    }),
  );
  screen.table(histories);
}

async function showReputations(client: NexusClient, jobId: string, screen: Screen): Promise<void> {
  const agents = await waitForReputations(client, jobId);
  screen.heading("Reputation (starts at 1.0; the lower bound is what routing trusts)");
  const rows = agents.flatMap(({ agentId, reputations }) =>
    reputations.map((one) => [
      agentId,
      one.capability,
      one.score.toFixed(3),
      one.lowerBound.toFixed(3),
      `${one.succeeded} ok`,
      `${one.failed} failed`,
    ]),
  );
  screen.table([["agent", "capability", "score", "lower bound", "", ""], ...rows]);
}

/** Outcomes reach the registry after the commit, as samples reach insight. The stack has run no other job. */
async function waitForReputations(client: NexusClient, jobId: string) {
  const { job } = await client.jobs.getJob({ jobId });
  const expected = job?.tasks?.succeeded ?? 0;
  const deadline = performance.now() + SAMPLES_TIMEOUT_MS;
  for (;;) {
    const { agents } = await client.registry.listAgents({});
    const all = agents.flatMap(({ reputations }) => reputations);
    const counted = all.reduce((sum, { succeeded }) => sum + Number(succeeded), 0);
    if (counted >= expected || performance.now() > deadline) return agents;
    await new Promise((resolve) => setTimeout(resolve, SAMPLES_POLL_MS));
  }
}

async function showPerformance(client: NexusClient, jobId: string, screen: Screen): Promise<void> {
  const performance = await waitForSamples(client, jobId);
  screen.heading("Latency in ms, measured by insight (p50 / p95 / p99)");
  const rows = performance.agents.map(({ agentId, performance: one }) => [
    agentId,
    `${one?.succeeded ?? 0n}/${one?.attempts ?? 0n}`,
    showLatency(one?.queueTime),
    showLatency(one?.runTime),
  ]);
  screen.table([["agent", "ok/attempts", "waiting for an agent", "running"], ...rows]);
}

/** Samples reach insight in batches after the commit, so the last may be a moment away. */
async function waitForSamples(client: NexusClient, jobId: string) {
  const { job } = await client.jobs.getJob({ jobId });
  const expected = BigInt(job?.tasks?.succeeded ?? 0);
  const deadline = performance.now() + SAMPLES_TIMEOUT_MS;
  for (;;) {
    const found = await client.analytics.getJobPerformance({ jobId }).catch(() => undefined);
    const complete = (found?.total?.succeeded ?? 0n) >= expected;
    if (found !== undefined && (complete || performance.now() > deadline)) return found;
    if (performance.now() > deadline) throw new Error("insight has no samples of the job.");
    await new Promise((resolve) => setTimeout(resolve, SAMPLES_POLL_MS));
  }
}

function showLatency(latency: Latency | undefined): string {
  const show = (value: Parameters<typeof durationMs>[0] | undefined) =>
    value === undefined ? "-" : durationMs(value).toFixed(0);
  return `${show(latency?.p50)} / ${show(latency?.p95)} / ${show(latency?.p99)}`;
}
