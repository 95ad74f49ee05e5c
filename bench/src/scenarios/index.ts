/** All scenarios, in the order in which they run: the one that fills the registry after those it would slow down. */
import { assignmentScenario } from "./assignment.ts";
import { discoveryScenario } from "./discovery.ts";
import { loginsScenario } from "./logins.ts";
import { memoryScenario } from "./memory.ts";
import { messagesScenario } from "./messages.ts";
import type { Scenario } from "./scenario.ts";
import { tasksScenario } from "./tasks.ts";
import { tokensScenario } from "./tokens.ts";

/** Every scenario. */
export const SCENARIOS: readonly Scenario[] = [
  tasksScenario,
  assignmentScenario,
  messagesScenario,
  tokensScenario,
  loginsScenario,
  discoveryScenario,
  memoryScenario,
];
