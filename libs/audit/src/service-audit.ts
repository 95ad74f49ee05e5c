import type { Pool } from "@nexus/postgres";
import type { CallAuditor, RpcChannel, TokenSource } from "@nexus/rpc";
import { type Auditor, createAuditor } from "./auditor.ts";
import { createBacklog } from "./backlog.ts";
import { createCourier } from "./courier.ts";
import { createDraftWriter } from "./draft-writer.ts";

/** One background work of a service. */
export interface AuditLoop {
  readonly name: string;
  readonly intervalMs: number;
  /** First pause after a failure. @default intervalMs */
  readonly retryMs?: number;
  readonly step: (signal: AbortSignal) => Promise<void>;
}

/** One that rests. */
export interface RunningAuditLoop {
  /** Runs the next step without waiting for the interval. */
  trigger(): void;
  /** Runs the next step within this time. */
  soon(withinMs: number): void;
}

/** What of a service its audit stands on. A frame of @nexus/runtime is one. */
export interface AuditHost {
  /** NEXUS service name, which is the id of its principal. */
  readonly service: string;
  readonly tokens: TokenSource;
  readonly server: { useAuditor(auditor: CallAuditor): unknown };
  readonly metrics: {
    counter(options: { readonly name: string; readonly help: string }): {
      inc(by?: number): void;
    };
    gauge(options: {
      readonly name: string;
      readonly help: string;
      readonly read: () => number;
    }): unknown;
  };
  channel(address: string, peer: string): RpcChannel;
  loop(loop: AuditLoop): RunningAuditLoop;
  defer(name: string, close: () => unknown): void;
}

/** Where a service's entries are kept, and told. */
export interface ServiceAuditOptions {
  /** Its schema has the tables `audit_outbox` and `audit_stream`. */
  readonly pool: Pool;
  /** `host:port` of vault. */
  readonly vaultAddress: string;
  /** Entries that may wait. @default BACKLOG_MAX */
  readonly backlogMax?: number;
}

/** How long a committed entry waits until vault is told; those of a replica that died, and those that come while another replica is at it,
 * until the next look at what waits. */
export const TELL_INTERVAL_MS = 200;
/** What waits is told whenever an entry was stored, and at each look that finds some: by itself only in case. */
export const TELL_IDLE_MS = 10_000;
/** How often refusals that were counted are entered. */
export const DENIALS_INTERVAL_MS = 1000;
const BACKLOG_INTERVAL_MS = 1000;

/** Keeps the audit of a service with a database: entries commit in its own schema with what they are about, and are told to
 * vault from there. Call it before the service starts. */
export function keepServiceAudit(host: AuditHost, options: ServiceAuditOptions): Auditor {
  const { pool, vaultAddress, backlogMax } = options;
  const writer = createDraftWriter(pool);
  const channel = host.channel(vaultAddress, "vault");
  const tooLarge = host.metrics.counter({
    name: "audit_entries_too_large_total",
    help: "Entries of the outbox that the audit log has a notice of, as they are larger than it takes. Any is a fault.",
  });
  const courier = createCourier({
    service: host.service,
    pool,
    channel,
    tokens: host.tokens,
    onTooLarge: (count) => tooLarge.inc(count),
  });
  const backlog = createBacklog(pool, backlogMax);
  const onStored = (): void => telling.soon(TELL_INTERVAL_MS);
  const auditor = createAuditor({
    service: host.service,
    enter: (draft) => writer.enter(draft).then(onStored),
    assertRoom: () => backlog.assertRoom(),
    onStored,
  });
  host.defer("audit entries", () => writer.close());
  host.server.useAuditor(auditor);
  const telling = host.loop({
    name: "audit-courier",
    intervalMs: TELL_IDLE_MS,
    retryMs: TELL_INTERVAL_MS,
    step: (signal) => courier.tell(signal),
  });
  host.loop({
    name: "audit-backlog",
    intervalMs: BACKLOG_INTERVAL_MS,
    step: async () => {
      await backlog.look();
      if (backlog.waiting > 0) telling.trigger();
    },
  });
  host.loop({
    name: "audit-denials",
    intervalMs: DENIALS_INTERVAL_MS,
    step: () => auditor.flushDenials(),
  });
  host.metrics.gauge({
    name: "audit_entries_waiting",
    help: "Entries of the audit log that vault has not been told of.",
    read: () => backlog.waiting,
  });
  return auditor;
}
