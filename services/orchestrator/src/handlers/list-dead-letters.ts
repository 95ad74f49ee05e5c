import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { DeadLetterSchema, JobService } from "@nexus/proto/orchestrator";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import type { DeadLetter } from "../domain/dead-letter.ts";
import { fromFailure } from "./convert.ts";
import { tryFilter } from "./dead-letter-filter.ts";
import type { HandlerDeps } from "./deps.ts";
import { pageOf } from "./find.ts";

/** Serves ListDeadLetters. */
export function createListDeadLetters({
  engine,
  reader,
}: HandlerDeps): MethodImplementation<typeof JobService.method.listDeadLetters> {
  return async ({ filter, includeRedriven, page }, ctx) => {
    engine.assertServing();
    const { namespace } = requirePrincipal(ctx);
    const wanted = tryFilter(filter);
    if (wanted === undefined) return { page: {} };
    const query = { namespace, filter: wanted, includeRedriven, ...pageOf(page) };
    const { deadLetters, nextPageToken } = await reader.deadLetters(query);
    return { deadLetters: deadLetters.map(fromDeadLetter), page: { nextPageToken } };
  };
}

function fromDeadLetter(letter: DeadLetter): MessageInitShape<typeof DeadLetterSchema> {
  const { redriven, failure, failedAt, ...rest } = letter;
  return {
    ...rest,
    failure: fromFailure(failure),
    failTime: timestampFromDate(failedAt),
    ...(redriven === undefined
      ? {}
      : {
          redriveTime: timestampFromDate(redriven.at),
          redrivenJobId: redriven.jobId,
          redrivenBy: redriven.by,
        }),
  };
}
