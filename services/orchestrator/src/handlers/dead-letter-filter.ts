/** Reads which dead letters a caller means. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { DeadLetterFilter as WireFilter } from "@nexus/proto/orchestrator";
import type { DeadLetterFilter } from "../domain/dead-letter.ts";
import { isJobId } from "../domain/public-ids.ts";
import { toStorableText } from "../domain/settlement.ts";

const NO_FILTER: DeadLetterFilter = {
  capability: undefined,
  reason: undefined,
  jobId: undefined,
  agentId: undefined,
  failedSince: undefined,
  failedBefore: undefined,
};

/** Reads a filter; undefined for one that nothing can fit, as with a job id of another form. */
export function tryFilter(filter: WireFilter | undefined): DeadLetterFilter | undefined {
  if (filter === undefined) return NO_FILTER;
  if (filter.jobId !== "" && !isJobId(filter.jobId)) return undefined;
  const { failedSince, failedBefore } = filter;
  return {
    capability: textOrNone(filter.capability),
    reason: textOrNone(filter.reason),
    jobId: textOrNone(filter.jobId),
    agentId: textOrNone(filter.agentId),
    failedSince: failedSince === undefined ? undefined : timestampDate(failedSince),
    failedBefore: failedBefore === undefined ? undefined : timestampDate(failedBefore),
  };
}

/** No stored text has a NUL, so none can equal what this makes of one. */
function textOrNone(text: string): string | undefined {
  return text === "" ? undefined : toStorableText(text);
}
