/** Reads groups of outcomes: ends of attempts one by one, or in a table. */
import type { AttemptOutcome, OutcomeTable, OutcomeGroup as WireGroup } from "@nexus/proto/common";
import { readTableAttempts } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { OutcomeGroup, OutcomeTally } from "../domain/ports.ts";
import { fromDurationMs } from "./convert-time.ts";

const US_PER_MS = 1_000;

/** Reads a group. Errors: invalid/REQUEST_INVALID when it holds no attempt, or its table is broken. */
export function toOutcomeGroup({ position, outcomes, table }: WireGroup): OutcomeGroup {
  const single = outcomes.map(toTally);
  const tallies = table === undefined ? single : [...single, ...readTable(table)];
  if (tallies.length === 0) {
    const message = "A group holds the end of an attempt.";
    throw new NexusError({ kind: "invalid", reason: "REQUEST_INVALID", message });
  }
  return { position, tallies };
}

function toTally(outcome: AttemptOutcome): OutcomeTally {
  const { namespace, agentId, capability, taskId, success, reason } = outcome;
  const runTimeMs = fromDurationMs(outcome.workTime);
  return {
    namespace,
    agentId,
    capability,
    success,
    reason,
    attempts: 1,
    lastTaskId: taskId,
    runTimesMs: runTimeMs === undefined ? [] : [runTimeMs],
  };
}

/** What a table holds of each kind, in the order of the kinds' last ends. */
function readTable(table: OutcomeTable): OutcomeTally[] {
  const tallies = table.kinds.map((known) => {
    const { namespace, agentId, capability, success, reason, lastTaskId } = known;
    const kind = { namespace, agentId, capability, success, reason, lastTaskId };
    return { ...kind, attempts: 0, runTimesMs: [] as number[], lastAt: 0 };
  });
  for (const [at, { kindAt, workUs }] of readTableAttempts(table).entries()) {
    const tally = tallies[kindAt] as (typeof tallies)[number];
    tally.attempts += 1;
    tally.lastAt = at;
    if (workUs !== undefined) tally.runTimesMs.push(workUs / US_PER_MS);
  }
  return tallies.filter((tally) => tally.attempts > 0).sort((a, b) => a.lastAt - b.lastAt);
}
