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
  readonly step: (signal: AbortSignal) => Promise<void>;
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
  loop(loop: AuditLoop): unknown;
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

/** How long a committed entry waits until vault is told. */
export const TELL_INTERVAL_MS = 200;
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
  const auditor = createAuditor({
    service: host.service,
    enter: writer.enter,
    assertRoom: () => backlog.assertRoom(),
  });
  host.defer("audit entries", () => writer.close());
  host.server.useAuditor(auditor);
  host.loop({
    name: "audit-courier",
    intervalMs: TELL_INTERVAL_MS,
    step: (signal) => courier.tell(signal),
  });
  host.loop({
    name: "audit-backlog",
    intervalMs: BACKLOG_INTERVAL_MS,
    step: () => backlog.look(),
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
