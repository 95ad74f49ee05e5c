import type { AuditEvent, Finding } from "./alert.ts";
import { SubjectMemory, subjectOf } from "./subject-memory.ts";

/** A key that a principal used, or a place that it called from. */
export interface KnownPair {
  readonly namespace: string;
  readonly principalId: string;
  readonly what: "key" | "peer";
  readonly value: string;
  readonly timeMs: number;
  readonly leafIndex: number;
}

/** What was known of a principal before a pair of it that is new. */
export interface KnownBefore {
  /** When anything of this kind was first seen; undefined when nothing was. */
  readonly sinceMs: number | undefined;
  /** How many values. */
  readonly known: number;
}

/** A principal that was seen for a shorter time is still showing what is usual. */
const LEARNING_MS = 86_400_000;
/** One with so many is one of which nothing is unusual; more are not kept. */
export const VALUES_MAX = 32;
/** Pairs that were seen a moment ago need not be looked up. */
const RECENT_MAX = 50_000;

const KEY_USES =
  /^(Encrypt|Decrypt|Rewrap|Sign|Verify|ComputeHmac|VerifyHmac|GenerateDataKey)(Batch|Stream)?$/;

/** Picks out what may be new of a principal: the keys that it uses and the hosts that it calls from. What is new says the store,
 * which remembers for longer than a process lives. */
export class PairPicker {
  readonly #recent = new SubjectMemory<{ isNew: boolean }>(RECENT_MAX);

  pick(event: AuditEvent): readonly KnownPair[] {
    const { principalId, outcome, kind } = event;
    if (principalId === "" || outcome !== "allowed" || kind === "system") return [];
    const pairs: KnownPair[] = [];
    this.#pickOne(pairs, event, "peer", event.host);
    if (KEY_USES.test(event.method)) this.#pickOne(pairs, event, "key", event.resource);
    return pairs;
  }

  /** Almost every pair was seen a moment ago, so it is made after the look. */
  #pickOne(pairs: KnownPair[], event: AuditEvent, what: KnownPair["what"], value: string): void {
    if (value === "") return;
    const { namespace, principalId, timeMs, leafIndex } = event;
    const recent = this.#recent.of(subjectOf(namespace, principalId, what, value), newcomer);
    if (!recent.isNew) return;
    recent.isNew = false;
    pairs.push({ namespace, principalId, what, value, timeMs, leafIndex });
  }
}

const newcomer = () => ({ isNew: true });

/** Judges a pair that was not known before. */
export function judgeFirstSeen(
  { namespace, principalId, what, value, timeMs, leafIndex }: KnownPair,
  { sinceMs, known }: KnownBefore,
): Finding | undefined {
  const isLearning = sinceMs === undefined || timeMs - sinceMs < LEARNING_MS;
  if (isLearning || known >= VALUES_MAX) return undefined;
  return {
    severity: "low",
    namespace,
    principalId,
    timeMs,
    leafIndex,
    subject: subjectOf("first-seen", namespace, principalId, what),
    evidence: { detector: "first-seen", what, value, known },
  };
}
