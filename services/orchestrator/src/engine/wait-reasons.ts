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
    const found = fleet.countRejections(task.namespace, needOf(task), nowMs());
    if (found === undefined) return NO_AGENT;
    const { skilled, looked, counts } = found;
    if (skilled === 0) return `${NO_AGENT} Nobody has the capability.`;
    const reasons = [...counts].sort(([, a], [, b]) => b - a).map(([word, n]) => `${n} ${word}`);
    const whom = looked < skilled ? `Of ${looked} of the ${skilled}` : "Of those";
    return `${NO_AGENT} ${whom} that have the capability: ${reasons.join(", ")}.`;
  }
}
