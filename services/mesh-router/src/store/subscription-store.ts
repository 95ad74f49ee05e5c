/** Durable subscriptions in Postgres. */
import { type Pool, withTransaction } from "@nexus/postgres";
import { createBatcher } from "@nexus/shared";
import type {
  StoredSubscription,
  SubscriptionChange,
  SubscriptionStore,
} from "../domain/topic/subscription-desk.ts";

/** Channel by which replicas hear of each other's changes; a notice is `namespace/agent`. */
export const SUBSCRIPTION_CHANNEL = "mesh_subscriptions";

const BATCH_MAX = 256;
const QUEUED_MAX = 20_000;

const SELECT = "SELECT namespace, agent_id, pattern, queue_group FROM subscriptions";

const ADD = `
INSERT INTO subscriptions (namespace, agent_id, pattern, queue_group)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT DO NOTHING`;

const REMOVE = `
DELETE FROM subscriptions s
USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS t(namespace, agent_id, pattern, queue_group)
WHERE s.namespace = t.namespace AND s.agent_id = t.agent_id AND s.pattern = t.pattern AND s.queue_group = t.queue_group`;

interface Row {
  readonly namespace: string;
  readonly agent_id: string;
  readonly pattern: string;
  readonly queue_group: string;
}

/** The store, with what is queued written before its end. */
export interface ClosableSubscriptionStore extends SubscriptionStore {
  close(): Promise<void>;
}

/** Creates the store. */
export function createSubscriptionStore(pool: Pool): ClosableSubscriptionStore {
  const changes = createBatcher<SubscriptionChange, void>({
    name: "subscription",
    maxItems: BATCH_MAX,
    maxDelayMs: 0,
    maxQueued: QUEUED_MAX,
    flush: (batch) => write(pool, batch),
  });
  return {
    change: (change) => changes.add(change),
    load: async (namespace, agentId) => {
      const where = `${SELECT} WHERE namespace = $1 AND agent_id = $2`;
      return (await pool.query<Row>(where, [namespace, agentId])).rows.map(toSubscription);
    },
    loadAll: async () => (await pool.query<Row>(SELECT)).rows.map(toSubscription),
    close: () => changes.close(),
  };
}

/** Of several changes to one subscription the last counts. */
async function write(pool: Pool, batch: readonly SubscriptionChange[]): Promise<void[]> {
  const last = new Map(batch.map((change) => [keyOf(change), change]));
  const changes = [...last.values()];
  const kept = changes.filter((change) => change.kept);
  const gone = changes.filter((change) => !change.kept);
  const agents = new Set(changes.map(({ namespace, agentId }) => `${namespace}/${agentId}`));
  await withTransaction(pool, async (client) => {
    if (kept.length > 0) await client.query(ADD, columns(kept));
    if (gone.length > 0) await client.query(REMOVE, columns(gone));
    const notify = "SELECT pg_notify($1, name) FROM unnest($2::text[]) AS t(name)";
    await client.query(notify, [SUBSCRIPTION_CHANNEL, [...agents]]);
  });
  return batch.map(() => undefined);
}

function columns(changes: readonly SubscriptionChange[]): string[][] {
  return [
    changes.map(({ namespace }) => namespace),
    changes.map(({ agentId }) => agentId),
    changes.map(({ pattern }) => pattern),
    changes.map(({ group }) => group),
  ];
}

function keyOf({ namespace, agentId, pattern, group }: SubscriptionChange): string {
  return JSON.stringify([namespace, agentId, pattern, group]);
}

function toSubscription(row: Row): StoredSubscription {
  const { namespace, agent_id: agentId, pattern, queue_group: group } = row;
  return { namespace, agentId, pattern, group, durable: true };
}
