/** Reads groups of outcomes: ends of attempts one by one, or in a table. */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { AttemptOutcome, OutcomeTable, OutcomeGroup as WireGroup } from "@nexus/proto/common";
import { readVarints } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { OutcomeGroup, RecordedOutcome } from "../domain/recorded-outcome.ts";
import { fromDurationUs } from "./convert.ts";

/** The numbers of an attempt in a table, and the places of those that are read. */
const ATTEMPT_NUMBERS = 5;
const KIND = 0;
const JOB = 1;
const QUEUE_TIME = 2;
const RUN_TIME = 3;

/** What the contract allows for a table. */
const ATTEMPTS_MAX = 1_000;

const MISSING = "An attempt names what is not there.";

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

function readTable({ endTime, kinds, jobIds, attempts }: OutcomeTable): RecordedOutcome[] {
  // As above.
  if (endTime === undefined) throw broken("A table has a time.");
  const endedAtMs = timestampMs(endTime);
  const known = kinds.map(({ namespace, agentId, capability, success, reason }) => {
    return { namespace, agentId, capability, success, reason };
  });
  const numbers = readNumbers(attempts);
  const outcomes: RecordedOutcome[] = [];
  for (let at = 0; at < numbers.length; at += ATTEMPT_NUMBERS) {
    const kind = known[numbers[at + KIND] as number];
    const jobId = jobIds[numbers[at + JOB] as number];
    if (kind === undefined || jobId === undefined) throw broken(MISSING);
    const queueUs = fromStored(numbers[at + QUEUE_TIME] as number);
    const runUs = fromStored(numbers[at + RUN_TIME] as number);
    outcomes.push({ kind, endedAtMs, jobId, queueUs, runUs });
  }
  return outcomes;
}

/** Times are stored with one added; 0 says that nothing was measured. */
function fromStored(stored: number): number | undefined {
  return stored === 0 ? undefined : stored - 1;
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
