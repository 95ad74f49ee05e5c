/** Writes nexus.common.v1.OutcomeGroup by hand: every attempt passes here, and the generated code takes ten times as long. A test
 * reads it with the generated code. */
import { WireWriter } from "@nexus/rpc";
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

/** Bytes that the lengths of a time and of an outcome take, mostly. */
const SHORT = 1;
const LONG = 2;

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
  const message = writer.openUnsized(OUTCOMES, LONG);
  writer.text(NAMESPACE, outcome.namespace);
  writer.text(JOB_ID, outcome.jobId);
  writer.text(TASK_ID, outcome.taskId);
  writer.uint64(FENCE, outcome.fence);
  writer.text(AGENT_ID, outcome.agentId);
  writer.text(CAPABILITY, outcome.capability);
  writer.uint(ATTEMPT, outcome.attempt);
  writer.uint(SUCCESS, outcome.success ? 1 : 0);
  writer.text(REASON, outcome.reason);
  writeTime(writer, QUEUE_TIME, outcome.queueMs);
  writeTime(writer, RUN_TIME, outcome.runMs);
  if (outcome.workMs !== undefined) writeTime(writer, WORK_TIME, outcome.workMs);
  writeTime(writer, END_TIME, outcome.endedAtMs);
  writer.closeUnsized(message, LONG);
}

/** Writes a Duration or a Timestamp of 0 or more, to the microsecond, which is what the database's clock has. */
function writeTime(writer: WireWriter, field: number, ms: number): void {
  const seconds = Math.floor(ms / MS_PER_S);
  const micros = Math.round((ms - seconds * MS_PER_S) * US_PER_MS);
  const isNext = micros === US_PER_S;
  const time = writer.openUnsized(field, SHORT);
  writer.uint(SECONDS, isNext ? seconds + 1 : seconds);
  writer.uint(NANOS, isNext ? 0 : micros * NS_PER_US);
  writer.closeUnsized(time, SHORT);
}
