/** Reads groups of outcomes: ends of attempts one by one, or in a table. */
import type { AttemptOutcome, OutcomeTable, OutcomeGroup as WireGroup } from "@nexus/proto/common";
import { readVarints } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { OutcomeGroup, OutcomeTally } from "../domain/ports.ts";
import { fromDurationMs } from "./convert-time.ts";

/** The numbers of an attempt in a table, and the places of those that are read. */
const ATTEMPT_NUMBERS = 5;
const KIND = 0;
const JOB = 1;
const WORK_TIME = 4;

/** What the contract allows for a table. */
const ATTEMPTS_MAX = 1_000;

const US_PER_MS = 1_000;

/** Reads a group. Errors: invalid/REQUEST_INVALID when it holds no attempt, or its table is broken. */
export function toOutcomeGroup({ position, outcomes, table }: WireGroup): OutcomeGroup {
  const single = outcomes.map(toTally);
  const tallies = table === undefined ? single : [...single, ...readTable(table)];
  if (tallies.length === 0) throw broken("A group holds the end of an attempt.");
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
function readTable({ kinds, jobIds, attempts }: OutcomeTable): OutcomeTally[] {
  const tallies = kinds.map(({ namespace, agentId, capability, success, reason, lastTaskId }) => {
    const kind = { namespace, agentId, capability, success, reason, lastTaskId };
    return { ...kind, attempts: 0, runTimesMs: [] as number[], lastAt: 0 };
  });
  const numbers = readNumbers(attempts);
  for (let at = 0; at < numbers.length; at += ATTEMPT_NUMBERS) {
    const tally = tallies[numbers[at + KIND] as number];
    const isKnownJob = (numbers[at + JOB] as number) < jobIds.length;
    if (tally === undefined || !isKnownJob) throw broken("An attempt names what is not there.");
    tally.attempts += 1;
    tally.lastAt = at;
    // Times are stored with one added.
    const workTime = numbers[at + WORK_TIME] as number;
    if (workTime > 0) tally.runTimesMs.push((workTime - 1) / US_PER_MS);
  }
  return tallies.filter((tally) => tally.attempts > 0).sort((a, b) => a.lastAt - b.lastAt);
}

function readNumbers(attempts: Uint8Array): number[] {
  let numbers: number[];
  try {
    numbers = readVarints(attempts);
  } catch (cause) {
    throw broken("A number of an attempt is cut off or too long.", cause);
  }
  if (numbers.length % ATTEMPT_NUMBERS !== 0) throw broken("An attempt is cut off.");
  if (numbers.length > ATTEMPTS_MAX * ATTEMPT_NUMBERS) throw broken("A table holds too many.");
  return numbers;
}

function broken(message: string, cause?: unknown): NexusError {
  return new NexusError({ kind: "invalid", reason: "REQUEST_INVALID", message, cause });
}
