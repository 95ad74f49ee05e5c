/** Looks for tasks that wait as stored and that memory does not know, which nobody would run or fail. Memory is never wrong but for a mistake
 * of ours; then it is read anew. */
import { JobDeltas } from "../domain/job-deltas.ts";
import { applyEffects } from "../store/effects-store.ts";
import { findMiscounted } from "../store/recount-store.ts";
import {
  countWaitingIn,
  FIRST_JOB,
  findWaitingTasks,
  readWaitingPart,
  type StoredWait,
  type WaitingJob,
} from "../store/waiting-reader.ts";
import type { Claimer } from "./claimer.ts";
import type { EngineParts } from "./parts.ts";
import type { Settler } from "./settler.ts";

/** Every so many looks the shards are counted, too. */
const LOOKS_PER_COUNT = 2;

/** What the audit needs beside the shared parts. */
export interface WaitingAuditDeps {
  readonly parts: EngineParts;
  readonly claimer: Pick<Claimer, "inFlightIn">;
  readonly settler: Pick<Settler, "follow">;
}

/** Owns where it looks next. It walks through all open jobs, a part at each look, whatever they count; and as that takes long where very much
 * waits, it goes first to a shard of which more waits as stored than memory has, as counted twice. */
export class WaitingAudit {
  readonly #parts: EngineParts;
  readonly #deps: WaitingAuditDeps;
  /** Tasks of the last look that wait as stored and not in memory, with their attempts. */
  #strangers: ReadonlyMap<string, number> = new Map();
  /** Where the walk goes on. */
  #after: WaitingJob = FIRST_JOB;
  /** Shards of which more waited as stored than in memory when they were last counted: most had just changed then, few have twice. */
  #lacking: ReadonlySet<number> = new Set();
  #looks = 0;

  constructor(deps: WaitingAuditDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Looks once. A task on which memory and tables differ is being submitted or claimed at this moment; if they still differ at the next
   * look, memory is wrong. */
  async look(): Promise<void> {
    const { ledger, pool } = this.#parts;
    if (ledger.ownership !== "owner") return;
    const before = this.#strangers;
    const again = await findWaitingTasks(pool, [...before.keys()]);
    const lost = this.#unknown(again).filter((task) => before.get(task.taskId) === task.attempts);
    this.#strangers = new Map();
    if (lost.length > 0) {
      this.#reload(lost.length, "tasks wait as stored that memory does not know");
      return;
    }
    this.#looks += 1;
    const suspect = this.#looks % LOOKS_PER_COUNT === 0 ? await this.#findSuspect() : undefined;
    const strangers = suspect === undefined ? await this.#walk() : await this.#readShard(suspect);
    this.#strangers = new Map(strangers.map(({ taskId, attempts }) => [taskId, attempts]));
  }

  /** The next part of all that is open. */
  async #walk(): Promise<StoredWait[]> {
    const { ledger, pool } = this.#parts;
    const part = await readWaitingPart(pool, [...ledger.shards.keys()], this.#after);
    this.#after = part.next;
    const miscounted = await findMiscounted(pool, part.jobIds);
    if (miscounted.length > 0) await this.#recount(part.jobIds);
    return this.#unknown(part.tasks);
  }

  /** All of a shard. */
  async #readShard(shard: number): Promise<StoredWait[]> {
    const strangers: StoredWait[] = [];
    let after = FIRST_JOB;
    do {
      const part = await readWaitingPart(this.#parts.pool, [shard], after);
      strangers.push(...this.#unknown(part.tasks));
      after = part.next;
    } while (after !== FIRST_JOB);
    return strangers;
  }

  /** A shard that lacks tasks in memory, and did when they were counted before. */
  async #findSuspect(): Promise<number | undefined> {
    const { ledger, pool, tallies } = this.#parts;
    const { generation } = tallies;
    const shards = [...ledger.shards.keys()];
    const known = new Map(shards.map((shard) => [shard, this.#countKnown(shard)]));
    const stored = await countWaitingIn(pool, shards);
    const lacking = shards.filter((shard) => {
      const most = Math.max(known.get(shard) ?? 0, this.#countKnown(shard));
      return ledger.shards.has(shard) && (stored.get(shard) ?? 0) > most;
    });
    const isSame = generation === tallies.generation;
    const suspect = isSame ? lacking.find((shard) => this.#lacking.has(shard)) : undefined;
    this.#lacking = new Set(isSame ? lacking.filter((shard) => shard !== suspect) : []);
    return suspect;
  }

  #countKnown(shard: number): number {
    return this.#parts.queue.sizeIn(shard) + this.#deps.claimer.inFlightIn(shard);
  }

  #unknown(tasks: readonly StoredWait[]): StoredWait[] {
    const { ledger, queue } = this.#parts;
    return tasks.filter(({ taskId }) => ledger.owns(taskId) && !queue.has(taskId));
  }

  /** Has jobs count what they have. One that counts too little of what waits is not loaded, and of none that counts wrongly a task can be
   * leased or end; so memory is read anew behind it. */
  async #recount(jobIds: readonly string[]): Promise<void> {
    const { ledger } = this.#parts;
    const { jobs } = await ledger.run(
      async (client) => {
        const own = jobIds.filter((jobId) => ledger.owns(jobId));
        const miscounted = await findMiscounted(client, own);
        const deltas = new JobDeltas();
        for (const { jobId, counts } of miscounted) deltas.correct(jobId, counts);
        const jobs = miscounted.length;
        return { jobs, effects: await applyEffects(client, [], deltas) };
      },
      ({ effects }) => this.#deps.settler.follow(effects, []),
    );
    if (jobs > 0) this.#reload(jobs, "jobs counted other tasks than they have");
  }

  #reload(count: number, complaint: string): void {
    this.#parts.logger.error({ count }, complaint);
    this.#parts.ledger.reload();
  }
}
