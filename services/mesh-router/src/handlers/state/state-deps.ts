import type { BucketStore } from "../../domain/state/bucket.ts";
import type { WatchDeps, WatchRegister } from "../../domain/state/bucket-watch.ts";
import type { StateEvents } from "../../domain/state/state-ports.ts";
import type { TaskFence } from "../../domain/state/task-fence.ts";

/** What the methods of StateService need. */
export interface StateDeps extends WatchDeps {
  readonly buckets: BucketStore;
  readonly fence: TaskFence;
  readonly register: WatchRegister;
  readonly events: StateEvents;
}
