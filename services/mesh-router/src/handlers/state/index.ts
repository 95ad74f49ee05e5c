/** Every method of StateService. */
import type { StateService } from "@nexus/proto/mesh";
import type { ServiceImplementation } from "@nexus/rpc";
import { createBatchGetEntries } from "./batch-get-entries.ts";
import { createCreateBucket } from "./create-bucket.ts";
import { createDeleteBucket } from "./delete-bucket.ts";
import { createDeleteEntry } from "./delete-entry.ts";
import { createGetBucket } from "./get-bucket.ts";
import { createGetEntry } from "./get-entry.ts";
import { createIncrementEntry } from "./increment-entry.ts";
import { createListBuckets } from "./list-buckets.ts";
import { createListEntries } from "./list-entries.ts";
import { createPutEntry } from "./put-entry.ts";
import { createResolveEntry } from "./resolve-entry.ts";
import type { StateDeps } from "./state-deps.ts";
import { createTransact } from "./transact.ts";
import { createUpdateBucket } from "./update-bucket.ts";
import { createWatchBucket } from "./watch-bucket.ts";
import { createWriteEntries } from "./write-entries.ts";

/** The handlers of StateService. */
export function createStateHandlers(deps: StateDeps): ServiceImplementation<typeof StateService> {
  return {
    createBucket: createCreateBucket(deps),
    getBucket: createGetBucket(deps),
    listBuckets: createListBuckets(deps),
    updateBucket: createUpdateBucket(deps),
    deleteBucket: createDeleteBucket(deps),
    getEntry: createGetEntry(deps),
    batchGetEntries: createBatchGetEntries(deps),
    listEntries: createListEntries(deps),
    putEntry: createPutEntry(deps),
    deleteEntry: createDeleteEntry(deps),
    incrementEntry: createIncrementEntry(deps),
    resolveEntry: createResolveEntry(deps),
    writeEntries: createWriteEntries(deps),
    transact: createTransact(deps),
    watchBucket: createWatchBucket(deps),
  };
}

export type { StateDeps } from "./state-deps.ts";
export { createStateMethods, type StateMethods } from "./state-methods.ts";
