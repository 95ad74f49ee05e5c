import { CANDIDATES_MAX } from "../limits.ts";
import { isQueueFull } from "../message/message-rules.ts";

/** An agent that may be chosen. */
export interface Candidate {
  readonly over: boolean;
  readonly attached: boolean;
  readonly credit: number;
  /** Messages that wait for its credit. */
  readonly inbox: { readonly size: number; readonly bytes: number };
  /** Messages that it has in hand or before it. */
  readonly waiting: number;
  /** How long it takes nothing, because of what it did with the last ones; 0 when it does. */
  pauseMs(nowMs: number): number;
}

/** How candidates are looked at. */
export interface Look<T> {
  /** Where to begin. */
  readonly turn: number;
  readonly nowMs: number;
  /** What the queue has to have room for; 0 for a durable message, which waits elsewhere. */
  readonly bytes: number;
  /** Where a member is; undefined when it is out of the question. */
  readonly placeOf: (member: T) => Candidate | undefined;
}

/** Weigh more than any load: one without credit comes after all with, one that takes nothing now after those. Without work in hand it
 * would otherwise be the least loaded, and get everything. */
const NO_CREDIT = 1e6;
const NOT_NOW = 1e9;

/** How busy an agent is with messages. */
function loadOf(candidate: Candidate, nowMs: number): number {
  const { waiting, credit, attached } = candidate;
  const isNotNow = !attached || candidate.pauseMs(nowMs) > 0;
  return waiting + (credit > 0 ? 0 : NO_CREDIT) + (isNotNow ? NOT_NOW : 0);
}

/** Picks the least loaded of a group's members that have a session; undefined when none has one, or none has room.
 *
 * Looks at a bounded number of those that can take something, beginning at another one each time, which for large groups is nearly as good
 * as looking at all.   Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. */
export function pickLeastLoaded<T>(
  members: readonly T[],
  { turn, nowMs, bytes, placeOf }: Look<T>,
): { readonly member: T } | undefined {
  let best: { member: T; load: number } | undefined;
  let looked = 0;
  for (let i = 0; i < members.length && looked < CANDIDATES_MAX; i += 1) {
    const member = members[(turn + i) % members.length] as T;
    const place = placeOf(member);
    if (place === undefined || place.over || isQueueFull(place, bytes)) continue;
    const load = loadOf(place, nowMs);
    if (load < NOT_NOW) looked += 1;
    if (best === undefined || load < best.load) best = { member, load };
  }
  return best;
}
