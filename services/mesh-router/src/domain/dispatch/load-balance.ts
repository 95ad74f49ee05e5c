import { CANDIDATES_MAX, MESSAGE_QUEUE_MAX } from "../limits.ts";

/** An agent that may be chosen. */
export interface Candidate {
  readonly over: boolean;
  readonly attached: boolean;
  readonly credit: number;
  /** Messages that wait for its credit. */
  readonly inbox: { readonly size: number };
  /** Messages that it has in hand or before it. */
  readonly waiting: number;
}

/** Weigh more than any load: one without credit comes after all with, one without a stream after those. */
const NO_CREDIT = 1e6;
const NO_STREAM = 1e9;

/** How busy an agent is with messages. */
function loadOf({ waiting, credit, attached }: Candidate): number {
  return waiting + (credit > 0 ? 0 : NO_CREDIT) + (attached ? 0 : NO_STREAM);
}

/** Picks the least loaded of a group's members that have a session; undefined when none has one, or all are full.
 *
 * Looks at a bounded number of them, beginning at another one each time, which for large groups is nearly as good as looking at all.
 * Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. */
export function pickLeastLoaded<T>(
  members: readonly T[],
  turn: number,
  placeOf: (member: T) => Candidate | undefined,
): { readonly member: T } | undefined {
  let best: { member: T; load: number } | undefined;
  let looked = 0;
  for (let i = 0; i < members.length && looked < CANDIDATES_MAX; i += 1) {
    const member = members[(turn + i) % members.length] as T;
    const session = placeOf(member);
    if (session === undefined || session.over || session.inbox.size >= MESSAGE_QUEUE_MAX) continue;
    looked += 1;
    const load = loadOf(session);
    if (best === undefined || load < best.load) best = { member, load };
  }
  return best;
}
