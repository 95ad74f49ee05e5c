import type { Leaf } from "../audit/audit-entries.ts";
import type { Alert, AuditEvent, Finding } from "./alert.ts";
import { AnomalyDetector } from "./anomaly-detector.ts";
import type { KnownPair } from "./first-seen.ts";

/** Leaves that one step reads at once. */
const BATCH_LEAVES = 1024;
/** Leaves before the first one that is not examined yet, from which histories are made anew after a start. */
const WARM_UP_LEAVES = 50_000;

/** What a stretch of the log held, to be stored together with how far the log is examined. */
export interface ExaminedStretch {
  /** All leaves before it are examined. */
  readonly next: number;
  readonly findings: readonly Finding[];
  readonly pairs: readonly KnownPair[];
}

/** What became of a stretch. */
export interface Stored {
  /** Raised, or joined by one more finding. */
  readonly alerts: readonly Alert[];
  /** Findings that were dropped, as too many alerts are open. */
  readonly dropped: number;
}

/** What the desk needs of the store. */
export interface AlertJournal {
  /** The first leaf that is not examined yet. */
  examinedUpTo(): Promise<number>;
  /** Stores what is about leaves that no replica has examined before, in one transaction with how far the log is examined. */
  commit(stretch: ExaminedStretch): Promise<Stored>;
}

/** What is told about alerts. */
export interface AnomalyEvents {
  /** An alert was raised, or one more finding joined it. */
  alertRaised(alert: Alert): void;
  /** Nobody acknowledges alerts: findings were dropped. */
  findingsDropped(count: number): void;
}

/** What a desk is made of. */
export interface AnomalyDeskOptions {
  readonly journal: AlertJournal;
  readonly log: {
    latest(): Promise<{ readonly size: number } | undefined>;
    range(range: {
      readonly from: number;
      readonly to: number;
      readonly limit: number;
    }): Promise<readonly Leaf[]>;
  };
  /** Undefined for a leaf that is no entry. */
  readonly read: (leaf: Leaf) => AuditEvent | undefined;
  readonly events: AnomalyEvents;
}

/** Follows the audit log with an AnomalyDetector, and keeps what it finds.
 *
 * Every replica examines every leaf, since what is unusual depends on what came before; of a leaf that two have examined, the first
 * one's findings are kept. */
export class AnomalyDesk {
  readonly #options: AnomalyDeskOptions;
  readonly #detector = new AnomalyDetector();
  #next: number | undefined;
  /** Examined and not stored yet: what was taken in is not taken in again. */
  #pending: ExaminedStretch | undefined;

  constructor(options: AnomalyDeskOptions) {
    this.#options = options;
  }

  /** Examines the next leaves; true when there may be more. For a loop. */
  async step(): Promise<boolean> {
    const { journal, log, read, events } = this.#options;
    this.#next ??= Math.max(0, (await journal.examinedUpTo()) - WARM_UP_LEAVES);
    const size = (await log.latest())?.size ?? 0;
    if (this.#pending === undefined) {
      if (this.#next >= size) return false;
      const to = Math.min(size, this.#next + BATCH_LEAVES);
      const leaves = await log.range({ from: this.#next, to, limit: BATCH_LEAVES });
      const entries = leaves.map(read).filter((event) => event !== undefined);
      this.#pending = { next: to, ...this.#detector.examine(entries) };
      this.#next = to;
    }
    const { alerts, dropped } = await journal.commit(this.#pending);
    this.#pending = undefined;
    for (const alert of alerts) events.alertRaised(alert);
    if (dropped > 0) events.findingsDropped(dropped);
    return this.#next < size;
  }
}
