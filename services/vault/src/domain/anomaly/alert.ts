/** What detectors see, what they find, and what becomes of it. */

/** One entry of the audit log, as detectors see it. */
export interface AuditEvent {
  /** Its place in the log. */
  readonly leafIndex: number;
  readonly timeMs: number;
  /** The method's own name, e.g. `Decrypt`. */
  readonly method: string;
  readonly namespace: string;
  /** Empty when nobody was known. */
  readonly principalId: string;
  /** `user`, `agent`, `service`, `system` or `anonymous`. */
  readonly kind: string;
  readonly tokenId: string;
  /** The other end of the connection without its port. */
  readonly host: string;
  readonly resource: string;
  readonly outcome: "allowed" | "denied" | "failed";
  /** Calls that the entry stands for. */
  readonly count: number;
}

/** How much it matters. low: worth a look some day. medium: today. high: now. */
export type Severity = "low" | "medium" | "high";

/** Why an alert was raised, by detector. */
export type Evidence =
  | {
      readonly detector: "rate";
      readonly method: string;
      /** In the window, until the alert. */
      readonly calls: number;
      readonly limit: number;
      /** Usual in a window of this caller and method; undefined without a history. */
      readonly usual: number | undefined;
      readonly windowMs: number;
    }
  | {
      readonly detector: "first-seen";
      readonly what: "key" | "peer";
      readonly value: string;
      /** How many the principal had before. */
      readonly known: number;
    }
  | {
      readonly detector: "failed-logins";
      /** As the log has it: the principal's id, or a digest of a name that nobody has. */
      readonly name: string;
      readonly failures: number;
      readonly host: string;
      readonly windowMs: number;
    }
  | {
      readonly detector: "login-spread";
      readonly host: string;
      readonly names: number;
      readonly failures: number;
      readonly windowMs: number;
    }
  | {
      readonly detector: "parallel-use";
      readonly tokenId: string;
      readonly hosts: readonly string[];
      readonly windowMs: number;
    }
  | {
      readonly detector: "decrypt-ratio";
      readonly decrypts: number;
      readonly encrypts: number;
      /** Decryptions for each encryption that are usual. */
      readonly usualRatio: number;
      readonly windowMs: number;
    };

/** Which detector. */
export type Detector = Evidence["detector"];

/** Something that a detector noticed. */
export interface Finding {
  readonly severity: Severity;
  readonly namespace: string;
  /** Whom it is about; empty when it is about nobody known. */
  readonly principalId: string;
  readonly timeMs: number;
  readonly leafIndex: number;
  /** Findings with the same one are one alert, within ALERT_MERGE_MS. */
  readonly subject: string;
  readonly evidence: Evidence;
}

/** A stored alert. */
export interface Alert extends Omit<Finding, "timeMs" | "leafIndex" | "subject"> {
  readonly alertId: string;
  /** Grows with every change of any alert. */
  readonly revision: bigint;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  readonly firstLeaf: number;
  readonly lastLeaf: number;
  /** Findings in it. */
  readonly count: number;
  readonly acknowledged:
    | { readonly atMs: number; readonly by: string; readonly note: string }
    | undefined;
}

/** A finding joins the open alert of its subject when that was raised, or joined, no longer ago. */
export const ALERT_MERGE_MS = 3_600_000;
/** Alerts that nobody has acknowledged. Beyond it findings are counted and dropped. */
export const OPEN_ALERTS_MAX = 10_000;
