/** Keeps an agent's slots, as they become free, for a task that takes several: cheaper ones fit sooner and would pass it for
 * ever. ADR 0033. */
import { unpackTask } from "../domain/waiting-task.ts";
import type { AgentEntry } from "./agent-entry.ts";
import type { Lane, TaskClass } from "./lane.ts";
import type { EngineParts } from "./parts.ts";
import { needOf } from "./ready-queue.ts";

/** A task that takes several slots waits this long before any are kept for it. */
export const RESERVE_AFTER_MS = 5_000;
/** Classes of such tasks that one review looks at, in all lanes; it comes to the others in turn. For each, agents are looked at. */
export const REVIEWED_MAX = 64;

/** Owns for which class which agent is kept: one each, for the best of its tasks. */
export class Reservations {
  readonly #parts: EngineParts;
  readonly #agents = new Map<TaskClass, AgentEntry>();
  /** Where the next review begins. */
  #nextLane = "";

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Ends what has no reason any more, and keeps agents for those that have waited long enough. Returns the agents whose slots
   * are anybody's again. Called now and then. */
  review(): AgentEntry[] {
    const ended = [...this.#agents.values()].filter((agent) => this.check(agent));
    const { queue } = this.#parts;
    const keys = [...queue.laneKeys()];
    const first = Math.max(0, keys.indexOf(this.#nextLane));
    let left = REVIEWED_MAX;
    for (let i = 0; i < keys.length && left > 0; i += 1) {
      const lane = queue.lane(keys[(first + i) % keys.length] as string);
      this.#nextLane = keys[(first + i + 1) % keys.length] as string;
      for (const group of lane?.nextCostly(left) ?? []) {
        left -= 1;
        if (lane !== undefined) this.#keep(lane, group);
      }
    }
    return ended;
  }

  /** Ends the reservation of an agent if its task is gone, or it could not take the task with all its slots free. True when
   * it was ended. */
  check(agent: AgentEntry): boolean {
    const { fleet, queue, nowMs } = this.#parts;
    const task = agent.keptFor;
    if (task === undefined) return false;
    const holds = queue.has(task.taskId) && fleet.couldTake(agent, needOf(task), nowMs());
    if (!holds) this.#end(agent);
    return !holds;
  }

  /** A task of a class was given away. Its agent is kept no longer, or for the next task of the class that has waited for as long.
   * Returns the agent that was. */
  onTaken(lane: Lane, group: TaskClass): AgentEntry | undefined {
    const agent = this.#agents.get(group);
    if (agent === undefined) return undefined;
    this.#end(agent);
    this.#keep(lane, group);
    return agent;
  }

  /** Ends them all. */
  clear(): void {
    for (const agent of this.#agents.values()) this.#parts.fleet.keep(agent, undefined);
    this.#agents.clear();
  }

  #keep(lane: Lane, group: TaskClass): void {
    const { fleet } = this.#parts;
    const nowMs = this.#parts.nowMs();
    const head = this.#agents.has(group) ? undefined : lane.headOf(group);
    if (head === undefined || nowMs - head.cohort.sinceMs < RESERVE_AFTER_MS) return;
    const task = unpackTask(head);
    const { agent, next } = fleet.findNearest(lane.key, needOf(task), nowMs, group.nearestFrom);
    group.nearestFrom = next;
    if (agent === undefined) return;
    this.#agents.set(group, agent);
    fleet.keep(agent, task);
  }

  #end(agent: AgentEntry): void {
    this.#parts.fleet.keep(agent, undefined);
    for (const [group, kept] of this.#agents) if (kept === agent) this.#agents.delete(group);
  }
}
