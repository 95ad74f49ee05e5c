/** All scenarios, in the order in which they run: those that fill registry and queues after those they would slow down. */
import { SERVICE_HEAP_MIB } from "@nexus/devkit";
import { assignmentScenario } from "./assignment.ts";
import { backlogScenario } from "./backlog.ts";
import { discoveryScenario } from "./discovery.ts";
import { loginsScenario } from "./logins.ts";
import { memoryScenario } from "./memory.ts";
import { meshScenario } from "./mesh.ts";
import { messagesScenario } from "./messages.ts";
import { replicasScenario } from "./replicas.ts";
import { routingScenario } from "./routing.ts";
import type { LoneScenario, Scenario } from "./scenario.ts";
import { sessionsScenario } from "./sessions.ts";
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
  sessionsScenario,
  backlogScenario,
  replicasScenario,
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

/** Scenarios that run on one stack, one after the other, and what it has to be like. */
export interface StackPlan {
  readonly scenarios: readonly Scenario[];
  readonly meshRouters: number;
  readonly heapMib: number;
}

/** Divides scenarios among as few stacks as they can share, in the order in which they come. */
export function planStacks(wanted: readonly Scenario[]): readonly StackPlan[] {
  const counts = new Set(wanted.map(({ meshRouters = 1 }) => meshRouters));
  return [...counts].map((meshRouters) => {
    const scenarios = wanted.filter((one) => (one.meshRouters ?? 1) === meshRouters);
    const heaps = scenarios.map(({ heapMib = 0 }) => heapMib);
    return { scenarios, meshRouters, heapMib: Math.max(SERVICE_HEAP_MIB, ...heaps) };
  });
}
