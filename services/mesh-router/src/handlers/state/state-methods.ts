/** The methods of StateService that sessions serve too. */
import { StateService } from "@nexus/proto/mesh";
import { type InnerMethod, type ServiceImplementation, serveInside } from "@nexus/rpc";
import type { Logger } from "@nexus/shared";
import type { StateCall } from "../wire/state-op.ts";

/** The methods that operations call. */
export type StateMethods = Readonly<Record<StateCall, InnerMethod>>;

/** Serves operations by the handlers that serve the methods' own calls. */
export function createStateMethods(
  handlers: Pick<
    ServiceImplementation<typeof StateService>,
    "batchGetEntries" | "writeEntries" | "transact"
  >,
  logger: Logger,
): StateMethods {
  const { batchGetEntries, writeEntries, transact } = StateService.method;
  return {
    get: serveInside(batchGetEntries, handlers.batchGetEntries, logger),
    write: serveInside(writeEntries, handlers.writeEntries, logger),
    transact: serveInside(transact, handlers.transact, logger),
  };
}
