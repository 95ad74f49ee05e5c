/** This replica's stream of outcomes: what registry and insight will hear of the attempts that it ends. */
import { type Queryable, together } from "@nexus/postgres";
import {
  type AttemptOutcome,
  OUTCOMES_PER_GROUP_MAX,
  type OutcomeCodec,
} from "../domain/outcome.ts";
import { insertGroup } from "../store/outbox-store.ts";
import type { Settled, SettledLease } from "../store/settle-store.ts";
import type { EndedLease } from "./lease-orders.ts";

/** What the contract allows for a reason. */
const REASON_MAX_CHARS = 128;

/** Owns the positions of the stream. They are kept in memory: a start of the process has a stream of its own. */
export class OutcomeLog {
  readonly #stream: string;
  readonly #codec: OutcomeCodec;
  #position = 0;

  constructor(stream: string, codec: OutcomeCodec) {
    this.#stream = stream;
    this.#codec = codec;
  }

  /** Writes what a transaction ended as one group, or as many as it takes, in that transaction. Only for the ledger's serial transactions,
   * whose order is that of their commits; the numbers of one that fails are left out.
   *
   * Cost: 1 statement for every 1 000 outcomes, all begun at once. */
  async append(client: Queryable, ended: readonly EndedLease[], settled: Settled): Promise<void> {
    const outcomes: AttemptOutcome[] = [];
    // One transaction, one time.
    let endedAtMs = 0;
    for (let index = 0; index < settled.length; index += 1) {
      const stored = settled[index];
      const end = ended[index] as EndedLease;
      if (stored === undefined || !end.settlement.reported) continue;
      outcomes.push(toOutcome(end, stored));
      endedAtMs = stored.endedAtMs;
    }
    const groups: Promise<void>[] = [];
    for (let first = 0; first < outcomes.length; first += OUTCOMES_PER_GROUP_MAX) {
      const group = outcomes.slice(first, first + OUTCOMES_PER_GROUP_MAX);
      groups.push(this.#insert(client, endedAtMs, group));
    }
    await together(...groups);
  }

  #insert(
    client: Queryable,
    endedAtMs: number,
    outcomes: readonly AttemptOutcome[],
  ): Promise<void> {
    this.#position += outcomes.length;
    const position = this.#position;
    const data = this.#codec.writeGroup(position, endedAtMs, outcomes);
    return insertGroup(client, this.#stream, { position, outcomes: outcomes.length, data });
  }
}

function toOutcome({ live, settlement }: EndedLease, stored: SettledLease): AttemptOutcome {
  const { task, agentId, leasedAtMs } = live.lease;
  const { startedAtMs, endedAtMs } = stored;
  return {
    namespace: task.namespace,
    jobId: task.jobId,
    taskId: task.taskId,
    agentId,
    capability: task.spec.capability,
    success: settlement.event === "SUCCEED",
    reason: settlement.failure?.reason.slice(0, REASON_MAX_CHARS) ?? "",
    queueMs: elapsedMs(task.readyAtMs, leasedAtMs),
    runMs: elapsedMs(leasedAtMs, endedAtMs),
    workMs: startedAtMs === undefined ? undefined : elapsedMs(startedAtMs, endedAtMs),
  };
}

/** Some moments were cut to milliseconds on their way, so that one may come out before the one that it followed. */
function elapsedMs(fromMs: number, toMs: number): number {
  return Math.max(0, toMs - fromMs);
}
