import { randomUUID } from "node:crypto";
import { AuditIntakeService } from "@nexus/proto/vault";
import { createRpcClient } from "@nexus/rpc";
import { type Auditor, createAuditor } from "./auditor.ts";
import { TELL_MAX, TELL_TIMEOUT_MS } from "./courier.ts";
import {
  type AuditHost,
  DENIALS_INTERVAL_MS,
  TELL_IDLE_MS,
  TELL_INTERVAL_MS,
} from "./service-audit.ts";

/** Entries that wait for vault in memory, some 5 MB; beyond it the oldest are dropped, and counted. */
export const REFUSALS_QUEUED_MAX = 10_000;
/** How long a stop waits for vault to take the last refusals. */
const LAST_TELL_MS = 1000;
const MICROS_PER_MS = 1000;

/** What a service without a database needs to have its refusals entered. */
export interface RefusalAuditOptions {
  /** `host:port` of vault. */
  readonly vaultAddress: string;
  readonly nowMs: () => number;
  /** Entries that may wait. @default REFUSALS_QUEUED_MAX */
  readonly queuedMax?: number;
  /** Hears of entries that were dropped because vault was away for too long. */
  readonly onDropped: (count: number) => void;
}

interface Waiting {
  readonly position: bigint;
  readonly draft: Uint8Array;
  readonly timeUs: bigint;
}

/** Keeps the audit of a service without a database: it decides nothing but who is not let in, and vault is told of that.
 *
 * Nobody waits for it, because a refusal gives nothing away: a kill loses the refusals of the last moment; a vault that is away
 * for long the oldest, or at a stop all that wait, which is counted. Each process has a stream of its own. */
export function keepRefusalAudit(host: AuditHost, options: RefusalAuditOptions): Auditor {
  const queue = new RefusalQueue(options);
  const auditor = createAuditor({
    service: host.service,
    denialsOnly: true,
    enter: async (draft) => {
      queue.push(draft);
      telling.soon(TELL_INTERVAL_MS);
    },
  });
  const channel = host.channel(options.vaultAddress, "vault");
  const intake = createRpcClient(AuditIntakeService, channel, {
    tokens: host.tokens,
    timeoutMs: TELL_TIMEOUT_MS,
  });
  const stream = randomUUID();
  const tell = async (signal: AbortSignal) => {
    while (queue.size > 0 && !signal.aborted) {
      const entries = queue.oldest(TELL_MAX);
      const { position } = await intake.appendEntries({ stream, entries }, { signal });
      queue.forget(position);
    }
  };
  host.server.useAuditor(auditor);
  // After the loops, before the channel is closed.
  host.defer("last refusals", async () => {
    await auditor.flushDenials();
    await tell(AbortSignal.timeout(LAST_TELL_MS)).catch(() => undefined);
    if (queue.size > 0) options.onDropped(queue.size);
  });
  const telling = host.loop({
    name: "audit-teller",
    intervalMs: TELL_IDLE_MS,
    retryMs: TELL_INTERVAL_MS,
    step: tell,
  });
  host.loop({
    name: "audit-denials",
    intervalMs: DENIALS_INTERVAL_MS,
    step: () => auditor.flushDenials(),
  });
  host.metrics.gauge({
    name: "audit_entries_waiting",
    help: "Entries of the audit log that vault has not been told of.",
    read: () => queue.size,
  });
  return auditor;
}

class RefusalQueue {
  readonly #options: RefusalAuditOptions;
  #waiting: Waiting[] = [];
  #position = 0n;

  constructor(options: RefusalAuditOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.length;
  }

  push(draft: Uint8Array): void {
    const { nowMs, onDropped, queuedMax = REFUSALS_QUEUED_MAX } = this.#options;
    const timeUs = BigInt(Math.round(nowMs() * MICROS_PER_MS));
    this.#waiting.push({ position: ++this.#position, draft, timeUs });
    if (this.#waiting.length <= queuedMax) return;
    // By a tenth at once: one at a time would move the whole queue for each.
    const dropped = this.#waiting.splice(0, Math.ceil(queuedMax / 10));
    onDropped(dropped.length);
  }

  oldest(count: number): Waiting[] {
    return this.#waiting.slice(0, count);
  }

  /** Everything up to it is taken. */
  forget(position: bigint): void {
    const first = this.#waiting.findIndex((entry) => entry.position > position);
    this.#waiting = first < 0 ? [] : this.#waiting.slice(first);
  }
}
