/** What the handlers need. */
import type { Reader } from "../domain/reader.ts";
import type { Engine } from "../engine/engine.ts";

/** Shared by all handlers. */
export interface HandlerDeps {
  readonly engine: Engine;
  readonly reader: Reader;
  readonly watchHeartbeatMs: number;
}
