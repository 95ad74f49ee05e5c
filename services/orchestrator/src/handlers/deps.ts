/** What the handlers need. */
import type { JobService } from "@nexus/proto/orchestrator";
import type { RpcClient } from "@nexus/rpc";
import type { Reader } from "../domain/reader.ts";
import type { Engine } from "../engine/engine.ts";

/** Another replica. */
export type Peer = RpcClient<typeof JobService>;

/** Shared by all handlers. */
export interface HandlerDeps {
  readonly engine: Engine;
  readonly reader: Reader;
  readonly watchHeartbeatMs: number;
  /** A client of another replica. */
  readonly peer: (address: string) => Peer;
}
