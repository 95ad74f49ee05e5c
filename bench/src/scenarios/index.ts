/** All scenarios, in the order in which they run: those that fill registry and queues after those they would slow down. */
import { assignmentScenario } from "./assignment.ts";
import { backlogScenario } from "./backlog.ts";
import { discoveryScenario } from "./discovery.ts";
import { loginsScenario } from "./logins.ts";
import { memoryScenario } from "./memory.ts";
import { meshScenario } from "./mesh.ts";
import { messagesScenario } from "./messages.ts";
import { routingScenario } from "./routing.ts";
import type { LoneScenario, Scenario } from "./scenario.ts";
import { stateScenario } from "./state.ts";
import { tasksScenario } from "./tasks.ts";
import { tokensScenario } from "./tokens.ts";
import { vaultScenario } from "./vault.ts";
import { waitingScenario } from "./waiting.ts";

/** Scenarios that need no stack; they run before it is started. */
export const LONE_SCENARIOS: readonly LoneScenario[] = [routingScenario, waitingScenario];

/** Every scenario that needs one. */
export const SCENARIOS: readonly Scenario[] = [
  tasksScenario,
  assignmentScenario,
  messagesScenario,
  meshScenario,
  stateScenario,
  vaultScenario,
  tokensScenario,
  loginsScenario,
  discoveryScenario,
  memoryScenario,
  backlogScenario,
];

/** Returns the scenarios of a run: those that were named, without those that are measured as a part of another. */
export function planScenarios(
  all: readonly Scenario[],
  names: readonly string[],
): readonly Scenario[] {
  return all.filter(
    ({ name, partOf }) => names.includes(name) && (partOf === undefined || !names.includes(partOf)),
  );
}
