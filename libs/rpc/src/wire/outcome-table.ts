import type { OutcomeTable } from "@nexus/proto/common";
import { NexusError } from "@nexus/shared";
import { readVarints } from "./wire-reader.ts";

/** What the contract allows for a table. */
const ATTEMPTS_MAX = 1_000;

/** The numbers of an attempt, in their order. */
const KIND = 0;
const JOB = 1;
const QUEUE_TIME = 2;
const RUN_TIME = 3;
const WORK_TIME = 4;
const NUMBERS = 5;

/** An attempt as a table of outcomes has it. */
export interface TableAttempt {
  /** The place of its kind in the table. */
  readonly kindAt: number;
  readonly jobId: string;
  /** Microseconds; undefined where nothing was measured. */
  readonly queueUs: number | undefined;
  readonly runUs: number | undefined;
  readonly workUs: number | undefined;
}

/** Reads the attempts of a table, whose numbers no generated code knows (ADR 0051): at most 1 000, in the order they ended.
 *
 * Errors: invalid/REQUEST_INVALID for a number that is cut off or too long, for more attempts, and for one that names what is not there. */
export function readTableAttempts({ kinds, jobIds, attempts }: OutcomeTable): TableAttempt[] {
  const numbers = readNumbers(attempts);
  const read: TableAttempt[] = [];
  for (let at = 0; at < numbers.length; at += NUMBERS) {
    const kindAt = numbers[at + KIND] as number;
    const jobId = jobIds[numbers[at + JOB] as number];
    if (kindAt >= kinds.length || jobId === undefined) {
      throw broken("An attempt names what is not there.");
    }
    read.push({
      kindAt,
      jobId,
      queueUs: fromStored(numbers[at + QUEUE_TIME] as number),
      runUs: fromStored(numbers[at + RUN_TIME] as number),
      workUs: fromStored(numbers[at + WORK_TIME] as number),
    });
  }
  return read;
}

function readNumbers(attempts: Uint8Array): number[] {
  let numbers: number[];
  try {
    numbers = readVarints(attempts);
  } catch (cause) {
    throw broken("A number of an attempt is cut off or too long.", cause);
  }
  if (numbers.length % NUMBERS !== 0) throw broken("An attempt is cut off.");
  if (numbers.length > ATTEMPTS_MAX * NUMBERS) throw broken("A table holds too many.");
  return numbers;
}

/** Times are stored with one added; 0 says that nothing was measured. */
function fromStored(stored: number): number | undefined {
  return stored === 0 ? undefined : stored - 1;
}

function broken(message: string, cause?: unknown): NexusError {
  return new NexusError({ kind: "invalid", reason: "REQUEST_INVALID", message, cause });
}
