import type { AuditEvent, Finding } from "./alert.ts";
import { SUBJECTS_MAX, SubjectMemory, subjectOf } from "./subject-memory.ts";

const WINDOW_MS = 600_000;
/** Windows with any use that make a history. */
const HISTORY_WINDOWS_MIN = 6;
const AVERAGE_WINDOWS = 36;
/** Below it nothing is unusual. */
const DECRYPTS_FLOOR = 200;
/** Decryptions for each encryption, and how much more than usual that is. */
const RATIO_FLOOR = 10;
const RATIO_FACTOR = 5;
const PEAK_FACTOR = 3;

const DECRYPTING: ReadonlySet<string> = new Set([
  "Decrypt",
  "DecryptBatch",
  "DecryptStream",
  "GetSecret",
  "LeaseSecret",
]);
const ENCRYPTING: ReadonlySet<string> = new Set([
  "Encrypt",
  "EncryptBatch",
  "EncryptStream",
  "GenerateDataKey",
  "PutSecret",
]);

interface Use {
  window: number;
  decrypts: number;
  encrypts: number;
  ratio: number;
  peak: number;
  windows: number;
  raised: boolean;
}

/** Notices a caller that takes out far more than it puts in, when it did not before: somebody empties what it can read. */
export class DecryptWatch {
  readonly #uses = new SubjectMemory<Use>(SUBJECTS_MAX);

  examine(event: AuditEvent): Finding | undefined {
    const { namespace, principalId, method, timeMs, leafIndex } = event;
    const isDecrypting = DECRYPTING.has(method);
    if (event.outcome !== "allowed" || !(isDecrypting || ENCRYPTING.has(method))) return undefined;
    const subject = subjectOf("decrypt-ratio", namespace, principalId);
    const window = Math.floor(timeMs / WINDOW_MS);
    const use = this.#uses.of(subject, () => beginAt(window));
    if (window > use.window) moveOn(use, window);
    if (!isDecrypting) {
      use.encrypts += event.count;
      return undefined;
    }
    use.decrypts += event.count;
    if (use.raised || !isUnusual(use)) return undefined;
    use.raised = true;
    const { decrypts, encrypts, ratio: usualRatio } = use;
    return {
      severity: "high",
      namespace,
      principalId,
      timeMs,
      leafIndex,
      subject,
      evidence: {
        detector: "decrypt-ratio",
        decrypts,
        encrypts,
        usualRatio,
        windowMs: WINDOW_MS,
      },
    };
  }
}

function beginAt(window: number): Use {
  return { window, decrypts: 0, encrypts: 0, ratio: 0, peak: 0, windows: 0, raised: false };
}

function ratioOf({ decrypts, encrypts }: Use): number {
  return decrypts / (encrypts + 1);
}

function isUnusual(use: Use): boolean {
  return (
    use.windows >= HISTORY_WINDOWS_MIN &&
    use.decrypts >= Math.max(DECRYPTS_FLOOR, PEAK_FACTOR * use.peak) &&
    ratioOf(use) >= Math.max(RATIO_FLOOR, RATIO_FACTOR * use.ratio)
  );
}

/** Ends the window that is over. Windows without any use say nothing about a ratio. */
function moveOn(use: Use, window: number): void {
  if (!use.raised) {
    const weight = 1 / Math.min(use.windows + 1, AVERAGE_WINDOWS);
    use.ratio += weight * (ratioOf(use) - use.ratio);
    use.peak = Math.max(use.decrypts, use.peak * (1 - 1 / AVERAGE_WINDOWS));
    use.windows++;
  }
  Object.assign(use, { window, decrypts: 0, encrypts: 0, raised: false });
}
