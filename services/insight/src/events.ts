/** What insight tells operators: one function an event. */
import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { InsightEvents } from "./domain/ports.ts";
import type { WitnessEvents } from "./domain/witness.ts";

/** Creates the events. */
export function createEvents(metrics: Metrics, logger: Logger): InsightEvents & WitnessEvents {
  let refusal = "";
  let isRefused = 0;
  const witnessed = metrics.counter({
    name: "audit_checkpoints_witnessed_total",
    help: "Checkpoints of the audit log that were found to go on from the one before.",
  });
  const refused = metrics.counter({
    name: "audit_checkpoints_refused_total",
    help: "Times that a checkpoint of the audit log was refused. Any is an alarm.",
  });
  metrics.gauge({
    name: "audit_log_refused",
    help: "1 while the newest checkpoint of the audit log contradicts what was kept.",
    read: () => isRefused,
  });
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
    checkpointWitnessed: (size) => {
      witnessed.inc();
      isRefused = 0;
      refusal = "";
      logger.debug({ size }, "audit checkpoint witnessed");
    },
    checkpointRefused: (origin, why) => {
      refused.inc();
      isRefused = 1;
      // Once a second the same line would hide the others.
      if (refusal === why) return;
      refusal = why;
      logger.error({ origin, why }, "THE AUDIT LOG WAS CHANGED: its checkpoint is refused");
    },
  };
}
