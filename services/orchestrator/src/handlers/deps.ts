/** What the handlers need. */
import type { JobService } from "@nexus/proto/orchestrator";
import type { RpcClient } from "@nexus/rpc";
import type { Reader } from "../domain/reader.ts";
import type { PayloadStore } from "../domain/stored-payload.ts";
import type { Engine } from "../engine/engine.ts";
import type { PayloadStreams } from "./payload-streams.ts";

/** Another replica. */
export type Peer = RpcClient<typeof JobService>;

/** What the handlers of payloads need. */
export interface PayloadHandlerDeps {
  readonly payloads: PayloadStore;
  readonly streams: PayloadStreams;
  /** Most bytes that a namespace stores. */
  readonly payloadNamespaceMaxBytes: number;
}

/** Shared by all handlers of jobs. */
export interface HandlerDeps {
  readonly engine: Engine;
  readonly reader: Reader;
  readonly watchHeartbeatMs: number;
  /** A client of another replica. */
  readonly peer: (address: string) => Peer;
}
