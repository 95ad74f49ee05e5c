/** Why nobody took a task, in a sentence: once it has failed for that, nothing else says so. */
import type { LiveTask } from "../domain/live-task.ts";
import type { EngineParts } from "./parts.ts";
import { classKey, needOf } from "./ready-queue.ts";

const NO_AGENT = "No agent could take the task within its schedule_to_start_timeout.";

/** Looks at the fleet as it is now; what the same agents can take is looked at once. */
export class WaitReasons {
  readonly #parts: Pick<EngineParts, "fleet" | "nowMs">;
  readonly #said = new Map<string, string>();

  constructor(parts: Pick<EngineParts, "fleet" | "nowMs">) {
    this.#parts = parts;
  }

  /** The message of the failure; of a task that memory does not know only that it waited too long. */
  messageFor(task: LiveTask | undefined): string {
    if (task === undefined) return NO_AGENT;
    const { namespace, spec, avoidAgentId } = task;
    const key = [namespace, spec.capability, classKey(spec), avoidAgentId].join("\u0000");
    let said = this.#said.get(key);
    if (said === undefined) {
      said = this.#look(task);
      this.#said.set(key, said);
    }
    return said;
  }

  #look(task: LiveTask): string {
    const { fleet, nowMs } = this.#parts;
    const { eligible, rejections } = fleet.findCandidates(task.namespace, needOf(task), nowMs());
    if (eligible.length > 0) return NO_AGENT;
    if (rejections.length === 0) return `${NO_AGENT} Nobody has the capability.`;
    const counts = new Map<string, number>();
    for (const { reason } of rejections) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    const reasons = [...counts].map(([reason, count]) => `${count} ${reason}`);
    return `${NO_AGENT} Of those that have the capability: ${reasons.join(", ")}.`;
  }
}
