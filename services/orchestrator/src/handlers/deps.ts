/** What the handlers need. */
import type { Reader } from "../domain/reader.ts";
import type { Engine } from "../engine/engine.ts";
import type { Peer } from "./at-owner.ts";

/** Shared by all handlers. */
export interface HandlerDeps {
  readonly engine: Engine;
  readonly reader: Reader;
  readonly watchHeartbeatMs: number;
  /** A client of another replica. */
  readonly peer: (address: string) => Peer;
}
