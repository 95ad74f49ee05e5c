import type { DescService } from "@bufbuild/protobuf";
import {
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "@nexus/proto/grpc-health";
import { NexusError } from "@nexus/shared";
import type { CallContext } from "../call-context.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = ServingStatus;

/** Name under which a liveness probe asks: serving as long as the event loop turns. */
const LIVE = "live";

/** Begins the name in `List` that says why a server does not serve. */
export const NOT_SERVING_PREFIX = "not-serving/";

/** Name under which a readiness probe asks: serving when the server takes calls. */
const READY = "ready";

/** The health service of a server, and its switch. */
export interface Health {
  readonly desc: DescService;
  readonly handlers: Readonly<Record<string, (request: never, ctx: never) => unknown>>;
  /** Sets the overall status and that of every service. `live` always serves. While it does not serve, `List` has a further name,
   * `not-serving/<why>`: a word that is safe to show to anybody. */
  setServing(serving: boolean, why?: string): void;
}

interface CheckRequest {
  readonly service: string;
}

/** Creates grpc.health.v1.Health for the given service names, NOT_SERVING at first. */
export function createHealth(serviceNames: readonly string[]): Health {
  const names = new Set(["", READY, LIVE, ...serviceNames]);
  const watchers = new Set<() => void>();
  let serving = false;
  let reason: string | undefined;

  function statusOf(name: string): number | undefined {
    if (!names.has(name)) return undefined;
    return serving || name === LIVE ? SERVING : NOT_SERVING;
  }

  async function* watch(request: CheckRequest, ctx: CallContext) {
    let last: number | undefined;
    while (!ctx.signal.aborted) {
      const status = statusOf(request.service) ?? SERVICE_UNKNOWN;
      if (status !== last) yield { status };
      last = status;
      await nextChange(watchers, ctx.signal, () => statusOf(request.service) !== last);
    }
  }

  return {
    desc: HealthService,
    handlers: {
      check(request: CheckRequest) {
        const status = statusOf(request.service);
        if (status !== undefined) return { status };
        throw new NexusError({
          kind: "not_found",
          reason: "HEALTH_SERVICE_UNKNOWN",
          message: "The server has no service of that name.",
        });
      },
      list() {
        const statuses: Record<string, { status: number }> = {};
        for (const name of names) statuses[name] = { status: statusOf(name) ?? SERVICE_UNKNOWN };
        if (!serving && reason !== undefined) {
          statuses[`${NOT_SERVING_PREFIX}${reason}`] = { status: NOT_SERVING };
        }
        return { statuses };
      },
      watch,
    },
    setServing(value, why) {
      serving = value;
      reason = why;
      for (const wake of watchers) wake();
    },
  };
}

/** Waits for a change that may already have happened while the watcher was sending. */
function nextChange(
  watchers: Set<() => void>,
  signal: AbortSignal,
  changed: () => boolean,
): Promise<void> {
  if (changed() || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = () => {
      watchers.delete(wake);
      signal.removeEventListener("abort", wake);
      resolve();
    };
    watchers.add(wake);
    signal.addEventListener("abort", wake);
  });
}
