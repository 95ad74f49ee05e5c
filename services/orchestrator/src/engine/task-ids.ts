/** What the orchestrator needs to make tasks of its own. */
import { inShardOf } from "../domain/shards.ts";
import type { GrowthSupply } from "../store/map-steps.ts";
import type { EngineParts } from "./parts.ts";

/** Makes ids of tasks, each in the shard of its job. */
export function taskIdsOf({ ids }: Pick<EngineParts, "ids">): (jobId: string) => string {
  return (jobId) => inShardOf(ids.next("task"), jobId);
}

/** What mapped tasks need to become the tasks of their elements. */
export function growthOf({ ids, backlog }: Pick<EngineParts, "ids" | "backlog">): GrowthSupply {
  return {
    newTaskId: taskIdsOf({ ids }),
    findNoRoom: (namespace, tasks) => backlog.findNoRoomToGrow(namespace, tasks),
  };
}
