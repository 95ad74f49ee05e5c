/** Tells a group as versions before its table did, for a receiver of such a version: while a deployment is replaced, its services come up
 * in any order. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  type AttemptOutcome,
  AttemptOutcomeSchema,
  type OutcomeGroup,
  OutcomeGroupSchema,
} from "@nexus/proto/common";
import { readVarints } from "@nexus/rpc";

const NUMBERS_PER_ATTEMPT = 5;
const US_PER_S = 1_000_000;
const NS_PER_US = 1_000;

/** Writes an encoded group anew, without a table; undefined when it has none, or cannot be read. */
export function tryExpandGroup(data: Uint8Array): Buffer | undefined {
  try {
    const group = fromBinary(OutcomeGroupSchema, data);
    if (group.table === undefined) return undefined;
    const { position } = group;
    const older = create(OutcomeGroupSchema, { position, outcomes: outcomesOf(group) });
    return Buffer.from(toBinary(OutcomeGroupSchema, older));
  } catch {
    // It was refused as it is, and nobody will ever take it: an error would have it told for ever.
    return undefined;
  }
}

/** The attempts of a group, one by one. A table does not say which task and attempt each was: all of a kind get its last task, which is
 * the one that a receiver keeps, and the first attempt. */
export function outcomesOf({ outcomes, table }: OutcomeGroup): AttemptOutcome[] {
  if (table === undefined) return outcomes;
  const numbers = readVarints(table.attempts);
  const expanded: AttemptOutcome[] = [];
  for (let at = 0; at < numbers.length; at += NUMBERS_PER_ATTEMPT) {
    const [kindAt = 0, jobAt = 0, queue, run, work] = numbers.slice(at, at + NUMBERS_PER_ATTEMPT);
    const kind = table.kinds[kindAt];
    if (kind === undefined) throw new RangeError("an attempt is of a kind that is not there");
    const { namespace, agentId, capability, success, reason } = kind;
    const outcome = create(AttemptOutcomeSchema, {
      namespace,
      agentId,
      capability,
      success,
      reason,
    });
    outcome.jobId = table.jobIds[jobAt] as string;
    outcome.taskId = kind.lastTaskId;
    outcome.fence = 1n;
    outcome.attempt = 1;
    setTime(outcome, "queueTime", queue);
    setTime(outcome, "runTime", run);
    setTime(outcome, "workTime", work);
    if (table.endTime !== undefined) outcome.endTime = table.endTime;
    expanded.push(outcome);
  }
  return expanded;
}

/** `stored` is microseconds plus one; 0 says that nothing was measured. */
function setTime(
  outcome: AttemptOutcome,
  name: "queueTime" | "runTime" | "workTime",
  stored = 0,
): void {
  if (stored === 0) return;
  const micros = stored - 1;
  const seconds = Math.floor(micros / US_PER_S);
  const nanos = (micros - seconds * US_PER_S) * NS_PER_US;
  outcome[name] = create(DurationSchema, { seconds: BigInt(seconds), nanos });
}
