/** Every success is counted once: insight, which is told of attempts through the outbox, agrees with the tables about how many there were,
 * whichever orchestrator told it, and however often. */
import type { NexusClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { type Bed, LIVENESS_MS } from "./_bed.ts";

/** Longer than any campaign, and than its database lives. */
const WINDOW = { seconds: 86_400n };

/** Waits until everything was told, and returns what does not agree. Nothing may run any more. */
export async function findMiscounts({ tables }: Bed, client: NexusClient): Promise<string[]> {
  const count = async (text: string) => (await tables.query<{ n: number }>(text)).rows[0]?.n ?? 0;
  const isTold = async () => (await count("SELECT count(*)::int AS n FROM outbox")) === 0;
  await waitFor(isTold, { timeoutMs: LIVENESS_MS, what: "all outcomes to be told" });
  const succeeded = await count(
    `SELECT count(*)::int AS n FROM attempts a JOIN tasks t USING (task_id)
      WHERE a.outcome = 'SUCCEEDED' AND t.namespace = 'default'`,
  );
  const { capabilities } = await client.analytics.listCapabilityPerformance({ window: WINDOW });
  const counted = capabilities.reduce((sum, { performance }) => {
    return sum + Number(performance?.succeeded ?? 0);
  }, 0);
  if (counted === succeeded) return [];
  return [`${succeeded} attempts succeeded and insight counted ${counted}`];
}
