/** Writes nexus.common.v1.OutcomeGroup by hand: every attempt passes here, and the generated code takes ten times as long. A test
 * reads it with the generated code. */
import { fieldSize, textSize, uintSize, WireWriter } from "@nexus/rpc";
import type { AttemptOutcome, OutcomeCodec } from "../domain/outcome.ts";

/** Field numbers of OutcomeGroup. */
const POSITION = 1;
const OUTCOMES = 2;
/** Field numbers of AttemptOutcome. */
const NAMESPACE = 1;
const JOB_ID = 2;
const TASK_ID = 3;
const FENCE = 4;
const AGENT_ID = 5;
const CAPABILITY = 6;
const ATTEMPT = 7;
const SUCCESS = 8;
const REASON = 9;
const QUEUE_TIME = 10;
const RUN_TIME = 11;
const WORK_TIME = 12;
const END_TIME = 13;
/** Field numbers of Duration and Timestamp. */
const SECONDS = 1;
const NANOS = 2;

const MS_PER_S = 1_000;
const US_PER_MS = 1_000;
const NS_PER_US = 1_000;
const US_PER_S = 1_000_000;

/** Creates the codec. */
export function createOutcomeCodec(): OutcomeCodec {
  const writer = new WireWriter();
  return {
    writeGroup(position, outcomes) {
      writer.uint(POSITION, position);
      for (const outcome of outcomes) writeOutcome(writer, outcome);
      return writer.take();
    },
  };
}

function writeOutcome(writer: WireWriter, outcome: AttemptOutcome): void {
  // Fences are drawn one by one, so they stay far below 2^53.
  const fence = Number(outcome.fence);
  const success = outcome.success ? 1 : 0;
  const queue = toTime(outcome.queueMs);
  const run = toTime(outcome.runMs);
  const work = outcome.workMs === undefined ? undefined : toTime(outcome.workMs);
  const end = toTime(outcome.endedAtMs);
  writer.open(
    OUTCOMES,
    textSize(outcome.namespace) +
      textSize(outcome.jobId) +
      textSize(outcome.taskId) +
      uintSize(fence) +
      textSize(outcome.agentId) +
      textSize(outcome.capability) +
      uintSize(outcome.attempt) +
      uintSize(success) +
      textSize(outcome.reason) +
      fieldSize(timeSize(queue)) +
      fieldSize(timeSize(run)) +
      (work === undefined ? 0 : fieldSize(timeSize(work))) +
      fieldSize(timeSize(end)),
  );
  writer.text(NAMESPACE, outcome.namespace);
  writer.text(JOB_ID, outcome.jobId);
  writer.text(TASK_ID, outcome.taskId);
  writer.uint(FENCE, fence);
  writer.text(AGENT_ID, outcome.agentId);
  writer.text(CAPABILITY, outcome.capability);
  writer.uint(ATTEMPT, outcome.attempt);
  writer.uint(SUCCESS, success);
  writer.text(REASON, outcome.reason);
  writeTime(writer, QUEUE_TIME, queue);
  writeTime(writer, RUN_TIME, run);
  if (work !== undefined) writeTime(writer, WORK_TIME, work);
  writeTime(writer, END_TIME, end);
}

/** A Duration or a Timestamp of 0 or more. */
interface Time {
  readonly seconds: number;
  readonly nanos: number;
}

/** To the microsecond, which is what the database's clock has. */
function toTime(ms: number): Time {
  const seconds = Math.floor(ms / MS_PER_S);
  const micros = Math.round((ms - seconds * MS_PER_S) * US_PER_MS);
  if (micros === US_PER_S) return { seconds: seconds + 1, nanos: 0 };
  return { seconds, nanos: micros * NS_PER_US };
}

function timeSize({ seconds, nanos }: Time): number {
  return uintSize(seconds) + uintSize(nanos);
}

function writeTime(writer: WireWriter, field: number, time: Time): void {
  writer.open(field, timeSize(time));
  writer.uint(SECONDS, time.seconds);
  writer.uint(NANOS, time.nanos);
}
