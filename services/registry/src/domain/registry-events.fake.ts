/** Events that are written down, for unit tests. */
import type { RegistryEvents } from "./ports.ts";

/** Events and what was told. */
export interface FakeEvents extends RegistryEvents {
  /** Each event as `name` and its arguments. */
  readonly told: readonly (readonly unknown[])[];
}

/** Creates events that remember. */
export function createFakeEvents(): FakeEvents {
  const told: unknown[][] = [];
  const note =
    (name: string) =>
    (...values: unknown[]): void => {
      told.push([name, ...values]);
    };
  return {
    told,
    agentRegistered: note("agentRegistered"),
    agentRemoved: note("agentRemoved"),
    presenceReported: note("presenceReported"),
    agentLost: note("agentLost"),
    outcomesCounted: note("outcomesCounted"),
    indexLoaded: note("indexLoaded"),
    watcherTooSlow: note("watcherTooSlow"),
  };
}
