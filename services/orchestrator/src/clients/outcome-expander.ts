/** Tells a group as versions before its table did, for a receiver of such a version: while a deployment is replaced, its services come up
 * in any order. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  type AttemptOutcome,
  AttemptOutcomeSchema,
  type OutcomeGroup,
  OutcomeGroupSchema,
  type OutcomeKind,
} from "@nexus/proto/common";
import { readTableAttempts } from "@nexus/rpc";

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
  return readTableAttempts(table).map(({ kindAt, jobId, queueUs, runUs, workUs }) => {
    const { $typeName: _, lastTaskId: taskId, ...kind } = table.kinds[kindAt] as OutcomeKind;
    const times = {
      queueTime: toDuration(queueUs),
      runTime: toDuration(runUs),
      workTime: toDuration(workUs),
    };
    return create(AttemptOutcomeSchema, {
      ...kind,
      taskId,
      jobId,
      fence: 1n,
      attempt: 1,
      ...times,
      endTime: table.endTime,
    });
  });
}

function toDuration(micros: number | undefined): Duration | undefined {
  if (micros === undefined) return undefined;
  const seconds = Math.floor(micros / US_PER_S);
  const nanos = (micros - seconds * US_PER_S) * NS_PER_US;
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}
