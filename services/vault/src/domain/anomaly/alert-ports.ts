import type { Page, PageOf } from "../page.ts";
import type { Alert, Detector, Severity } from "./alert.ts";

/** Whose alerts, and which severity at least; undefined for all. */
export interface AlertScope {
  readonly namespace: string | undefined;
  readonly severity: Severity | undefined;
}

/** Which alerts. What is undefined does not matter. */
export interface AlertFilter extends AlertScope {
  readonly detector: Detector | undefined;
  readonly principalId: string | undefined;
  /** Those that were acknowledged, too. */
  readonly acknowledged: boolean;
}

/** Reads alerts. */
export interface AlertReader {
  /** The last changed first. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(filter: AlertFilter, page: PageOf): Promise<Page<Alert>>;
  /** As they are now, in the order of their last changes. */
  changedAfter(revision: bigint, scope: AlertScope, limit: number): Promise<readonly Alert[]>;
  find(alertId: string): Promise<Alert | undefined>;
  /** The number of the last change. */
  revision(): Promise<bigint>;
}

/** Changes alerts, inside a transaction. */
export interface AlertWriter {
  /** Acknowledges an alert; one that is acknowledged stays as it is. Undefined when there is none. */
  acknowledge(order: {
    readonly alertId: string;
    readonly namespace: string | undefined;
    readonly by: string;
    readonly note: string;
  }): Promise<Alert | undefined>;
}
