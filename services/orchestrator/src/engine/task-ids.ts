/** Ids for tasks that the orchestrator makes itself. */
import { inShardOf } from "../domain/shards.ts";
import type { EngineParts } from "./parts.ts";

/** Makes ids of tasks, each in the shard of its job. */
export function taskIdsOf({ ids }: Pick<EngineParts, "ids">): (jobId: string) => string {
  return (jobId) => inShardOf(ids.next("task"), jobId);
}
