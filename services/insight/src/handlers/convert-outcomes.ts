/** Reads groups of outcomes: ends of attempts one by one, or in a table. */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { AttemptOutcome, OutcomeTable, OutcomeGroup as WireGroup } from "@nexus/proto/common";
import { readTableAttempts } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { OutcomeGroup, OutcomeKind, RecordedOutcome } from "../domain/recorded-outcome.ts";
import { fromDurationUs } from "./convert.ts";

/** Reads a group. Errors: invalid/REQUEST_INVALID when it holds no attempt, or its table is broken. */
export function toOutcomeGroup({ position, outcomes, table }: WireGroup): OutcomeGroup {
  const single = outcomes.map(toOutcome);
  const all = table === undefined ? single : [...single, ...readTable(table)];
  if (all.length === 0) throw broken("A group holds the end of an attempt.");
  return { position, outcomes: all };
}

function toOutcome(outcome: AttemptOutcome): RecordedOutcome {
  // The contract's rules demand it; this only satisfies the types.
  if (outcome.endTime === undefined) throw broken("An outcome has an end.");
  const { namespace, agentId, capability, success, reason } = outcome;
  return {
    kind: { namespace, agentId, capability, success, reason },
    endedAtMs: timestampMs(outcome.endTime),
    jobId: outcome.jobId,
    queueUs: measured(outcome.queueTime),
    runUs: measured(outcome.runTime),
  };
}

/** A duration between two clocks may come out below nothing; it took no time then. */
function measured(duration: Duration | undefined): number | undefined {
  const micros = fromDurationUs(duration);
  return micros === undefined ? undefined : Math.max(0, micros);
}

function readTable(table: OutcomeTable): RecordedOutcome[] {
  // As above.
  if (table.endTime === undefined) throw broken("A table has a time.");
  const endedAtMs = timestampMs(table.endTime);
  const kinds = table.kinds.map(({ namespace, agentId, capability, success, reason }) => {
    return { namespace, agentId, capability, success, reason };
  });
  return readTableAttempts(table).map(({ kindAt, jobId, queueUs, runUs }) => {
    return { kind: kinds[kindAt] as OutcomeKind, endedAtMs, jobId, queueUs, runUs };
  });
}

function broken(message: string): NexusError {
  return new NexusError({ kind: "invalid", reason: "REQUEST_INVALID", message });
}
