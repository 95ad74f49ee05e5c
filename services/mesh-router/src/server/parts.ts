import type { ServiceFrame } from "@nexus/runtime";
import type { Clock } from "@nexus/shared";
import type { MeshRouterConfig } from "../config.ts";

/** A replica that has not renewed itself for two of its `lostAfterMs` is taken for dead. */
export const ROUTER_GRACE_LOST_AFTERS = 2;

/** What every part of the composition is given. */
export interface Parts {
  readonly frame: ServiceFrame;
  readonly config: MeshRouterConfig;
  readonly clock: Clock;
  /** Names this replica. */
  readonly routerId: string;
}
