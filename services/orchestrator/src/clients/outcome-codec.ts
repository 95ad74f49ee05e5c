/** Writes nexus.common.v1.OutcomeGroup by hand: every attempt passes here, and the generated code takes ten times as long. A test
 * reads it with the generated code. */
import { WireWriter } from "@nexus/rpc";
import type { AttemptOutcome, OutcomeCodec } from "../domain/outcome.ts";

/** Field numbers of OutcomeGroup. */
const POSITION = 1;
const TABLE = 3;
/** Field numbers of OutcomeTable. */
const END_TIME = 1;
const KINDS = 2;
const JOB_IDS = 3;
const ATTEMPTS = 4;
/** Field numbers of OutcomeKind. */
const NAMESPACE = 1;
const AGENT_ID = 2;
const CAPABILITY = 3;
const SUCCESS = 4;
const REASON = 5;
const LAST_TASK_ID = 6;
/** Field numbers of Timestamp. */
const SECONDS = 1;
const NANOS = 2;

/** Bytes that the lengths of a kind and of a table take, mostly. */
const SHORT = 1;
const LONG = 2;

const MS_PER_S = 1_000;
const US_PER_MS = 1_000;
const NS_PER_US = 1_000;
const US_PER_S = 1_000_000;

/** The longest time that a table holds, of 17 years: receivers refuse a group with a longer one, and it would count nowhere. */
const MICROS_MAX = 2 ** 49 - 2;

/** In the place of a time: not measured. Others are written with one added. */
const UNMEASURED = 0;

/** Creates the codec. */
export function createOutcomeCodec(): OutcomeCodec {
  const writer = new WireWriter();
  return {
    writeGroup(position, endedAtMs, outcomes) {
      writer.uint(POSITION, position);
      const table = writer.openUnsized(TABLE, LONG);
      writeTime(writer, END_TIME, endedAtMs);
      const names = new Names();
      const attempts = writer.openUnsized(ATTEMPTS, LONG);
      for (const outcome of outcomes) writeAttempt(writer, names, outcome);
      writer.closeUnsized(attempts, LONG);
      for (const last of names.kinds) writeKind(writer, last);
      for (const jobId of names.jobs.keys()) writer.text(JOB_IDS, jobId);
      writer.closeUnsized(table, LONG);
      return writer.take();
    },
  };
}

/** What attempts of a group have in common, and the place of each. */
class Names {
  /** The last outcome of each kind. */
  readonly kinds: AttemptOutcome[] = [];
  readonly jobs = new Map<string, number>();
  /** The kinds of each agent by reason: it makes those up itself, and may have a new one each time. */
  readonly #byAgent = new Map<string, Map<string, number[]>>();

  kindOf(outcome: AttemptOutcome): number {
    const places = this.#placesOf(outcome);
    for (const place of places) {
      if (!isSameKind(this.kinds[place] as AttemptOutcome, outcome)) continue;
      this.kinds[place] = outcome;
      return place;
    }
    places.push(this.kinds.length);
    return this.kinds.push(outcome) - 1;
  }

  /** Kinds of one agent and one reason: rarely more than one. */
  #placesOf({ agentId, reason }: AttemptOutcome): number[] {
    let byReason = this.#byAgent.get(agentId);
    if (byReason === undefined) {
      byReason = new Map();
      this.#byAgent.set(agentId, byReason);
    }
    let places = byReason.get(reason);
    if (places === undefined) {
      places = [];
      byReason.set(reason, places);
    }
    return places;
  }

  jobOf({ jobId }: AttemptOutcome): number {
    const known = this.jobs.get(jobId);
    if (known !== undefined) return known;
    const place = this.jobs.size;
    this.jobs.set(jobId, place);
    return place;
  }
}

/** Of two of one agent and one reason. */
function isSameKind(one: AttemptOutcome, other: AttemptOutcome): boolean {
  return (
    one.capability === other.capability &&
    one.success === other.success &&
    one.namespace === other.namespace
  );
}

function writeAttempt(writer: WireWriter, names: Names, outcome: AttemptOutcome): void {
  writer.varint(names.kindOf(outcome));
  writer.varint(names.jobOf(outcome));
  writer.varint(toMicros(outcome.queueMs) + 1);
  writer.varint(toMicros(outcome.runMs) + 1);
  writer.varint(outcome.workMs === undefined ? UNMEASURED : toMicros(outcome.workMs) + 1);
}

/** The database's clock has microseconds. */
function toMicros(ms: number): number {
  return Math.min(Math.round(ms * US_PER_MS), MICROS_MAX);
}

function writeKind(writer: WireWriter, last: AttemptOutcome): void {
  const kind = writer.openUnsized(KINDS, SHORT);
  writer.text(NAMESPACE, last.namespace);
  writer.text(AGENT_ID, last.agentId);
  writer.text(CAPABILITY, last.capability);
  writer.uint(SUCCESS, last.success ? 1 : 0);
  writer.text(REASON, last.reason);
  writer.text(LAST_TASK_ID, last.taskId);
  writer.closeUnsized(kind, SHORT);
}

/** Writes a Timestamp of 0 or more. */
function writeTime(writer: WireWriter, field: number, ms: number): void {
  const seconds = Math.floor(ms / MS_PER_S);
  const micros = Math.round((ms - seconds * MS_PER_S) * US_PER_MS);
  const isNext = micros === US_PER_S;
  const time = writer.openUnsized(field, SHORT);
  writer.uint(SECONDS, isNext ? seconds + 1 : seconds);
  writer.uint(NANOS, isNext ? 0 : micros * NS_PER_US);
  writer.closeUnsized(time, SHORT);
}
