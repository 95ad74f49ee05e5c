/** What the handlers need. */
import type { Queryable } from "@nexus/postgres";
import type { Engine } from "../engine/engine.ts";

/** Shared by all handlers. */
export interface HandlerDeps {
  readonly engine: Engine;
  /** For reads; they never wait for the owner's transactions. */
  readonly pool: Queryable;
  readonly watchHeartbeatMs: number;
}
