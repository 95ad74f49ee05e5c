/** What insight tells operators: one function an event. */
import type { Metrics } from "@nexus/telemetry";
import type { InsightEvents } from "./domain/ports.ts";

/** Creates the events. */
export function createEvents(metrics: Metrics): InsightEvents {
  const samples = metrics.counter({
    name: "samples_total",
    help: "Samples taken in: stored, or left out because they were stored before.",
    labels: ["outcome"] as const,
  });
  const rolledUp = metrics.counter({
    name: "samples_rolled_up_total",
    help: "Samples added to the rollups.",
  });
  return {
    samplesStored: (stored, repeated) => {
      samples.inc({ outcome: "stored" }, stored);
      samples.inc({ outcome: "repeated" }, repeated);
    },
    samplesRolledUp: (count) => rolledUp.inc(count),
  };
}
