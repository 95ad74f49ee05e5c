import { CANDIDATES_MAX, MESSAGE_QUEUE_MAX } from "../limits.ts";
import type { Session } from "../session/session.ts";

/** Weigh more than any load: one without credit comes after all with, one without a stream after those. */
const NO_CREDIT = 1e6;
const NO_STREAM = 1e9;

/** How busy an agent is with messages. */
function loadOf(session: Session): number {
  const waiting = session.inbox.size + session.delivered.size + session.outbox.items;
  return waiting + (session.credit > 0 ? 0 : NO_CREDIT) + (session.attached ? 0 : NO_STREAM);
}

/** Picks the least loaded of a group's members that have a session; undefined when none has one, or all are full.
 *
 * Looks at a bounded number of them, beginning at another one each time, which for large groups is nearly as good as looking at all.
 * Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. */
export function pickLeastLoaded<T>(
  members: readonly T[],
  turn: number,
  sessionOf: (member: T) => Session | undefined,
): { readonly member: T; readonly session: Session } | undefined {
  let best: { member: T; session: Session; load: number } | undefined;
  let looked = 0;
  for (let i = 0; i < members.length && looked < CANDIDATES_MAX; i += 1) {
    const member = members[(turn + i) % members.length] as T;
    const session = sessionOf(member);
    if (session === undefined || session.over || session.inbox.size >= MESSAGE_QUEUE_MAX) continue;
    looked += 1;
    const load = loadOf(session);
    if (best === undefined || load < best.load) best = { member, session, load };
  }
  return best;
}
