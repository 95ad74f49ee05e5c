import type { AuditEvent, Finding } from "./alert.ts";
import { DecryptWatch } from "./decrypt-watch.ts";
import { type KnownPair, PairPicker } from "./first-seen.ts";
import { LoginWatch } from "./login-watch.ts";
import { RateWatch } from "./rate-watch.ts";
import { TokenWatch } from "./token-watch.ts";

/** What a stretch of the log holds. */
export interface Examined {
  readonly findings: readonly Finding[];
  /** To be held against what was known before. */
  readonly pairs: readonly KnownPair[];
}

/** Looks for what is unusual in the audit log.
 *
 * It goes by the entries alone, their times included, so every replica that reads the same stretch finds the same. It holds a
 * bounded number of subjects, and it only tells: nothing that it finds locks anybody out. */
export class AnomalyDetector {
  readonly #rates = new RateWatch();
  readonly #logins = new LoginWatch();
  readonly #tokens = new TokenWatch();
  readonly #decrypts = new DecryptWatch();
  readonly #pairs = new PairPicker();

  /** Takes in entries in the order of the log. */
  examine(events: readonly AuditEvent[]): Examined {
    const findings: Finding[] = [];
    const pairs: KnownPair[] = [];
    for (const event of events) {
      add(findings, this.#rates.examine(event));
      for (const finding of this.#logins.examine(event)) findings.push(finding);
      add(findings, this.#tokens.examine(event));
      add(findings, this.#decrypts.examine(event));
      for (const pair of this.#pairs.pick(event)) pairs.push(pair);
    }
    return { findings, pairs };
  }
}

function add(findings: Finding[], finding: Finding | undefined): void {
  if (finding !== undefined) findings.push(finding);
}
