import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  StateResyncReason,
  type StateService,
  type WatchBucketResponseSchema,
} from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { type ResyncReason, type WatchNews, watchBucket } from "../../domain/state/bucket-watch.ts";
import { type EntryRules, fromChangeKind, fromEntry } from "./state-convert.ts";
import type { StateDeps } from "./state-deps.ts";

const REASONS: Readonly<Record<ResyncReason, StateResyncReason>> = {
  trimmed: StateResyncReason.TRIMMED,
  "unknown-revision": StateResyncReason.UNKNOWN_REVISION,
};

/** Serves StateService.WatchBucket. */
export function createWatchBucket(
  deps: StateDeps,
): MethodImplementation<typeof StateService.method.watchBucket> {
  return async function* watch({ bucket: name, prefix, resumeRevision }, ctx) {
    const { namespace } = requirePrincipal(ctx);
    const bucket = await deps.buckets.get(namespace, name);
    const leave = deps.register.enter(bucket);
    try {
      const init = { bucket, prefix, after: resumeRevision, signal: ctx.signal };
      for await (const news of watchBucket(deps, init)) {
        if (news.kind === "changes") deps.events.stateChangesSent(news.changes.length);
        yield fromNews(news, bucket);
      }
    } finally {
      leave();
    }
  };
}

function fromNews(
  news: WatchNews,
  rules: EntryRules,
): MessageInitShape<typeof WatchBucketResponseSchema> {
  switch (news.kind) {
    case "entries":
      return { entries: news.entries.map((entry) => fromEntry(entry, rules)) };
    case "complete":
      return { revision: news.revision, snapshotComplete: true };
    case "resync":
      return { resync: { reason: REASONS[news.reason], oldestRevision: news.oldestRevision } };
    case "changes":
      return {
        revision: news.revision,
        changes: news.changes.map(({ kind, entry }) => ({
          kind: fromChangeKind(kind),
          entry: fromEntry(entry, rules),
        })),
      };
  }
}
