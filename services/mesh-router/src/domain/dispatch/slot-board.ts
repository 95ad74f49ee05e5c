/** Who may use how many slots of which session, and when each orchestrator has to hear of it. */

import { SLOT_TURN_STEPS_MAX } from "../limits.ts";
import type { CarriedAssignment, Demand } from "../message/carried.ts";
import type { Session } from "../session/session.ts";
import type { DispatchLink } from "./dispatch-link.ts";
import { shareSlots } from "./slot-shares.ts";

/** Those who want more of one session. */
interface Contest {
  /** In turn order, each with the slots that it says it holds. An assignment sends its link to the end. */
  readonly claims: Map<DispatchLink, number>;
  /** Steps of the turn for which slots were free that nobody took. */
  idleSteps: number;
  /** What each link may use, as last computed; undefined after a change. */
  shares: ReadonlyMap<DispatchLink, number> | undefined;
}

/** Shares the slots of every session among the links. With one link it does nothing: that one may use them all.
 *
 * A link that wants more hears at once. The others wait for the next call of tell(), by when most of what changed has
 * changed back: a task that comes and goes is no news to them. */
export class SlotBoard {
  readonly #links: ReadonlySet<DispatchLink>;
  readonly #contests = new Map<Session, Contest>();
  /** Sessions whose numbers are compared with what was said when news is told. */
  readonly #news = new Set<Session>();
  readonly #onNews: () => void;

  /** `onNews` hears that there is something to tell. */
  constructor(links: ReadonlySet<DispatchLink>, onNews: () => void = () => undefined) {
    this.#links = links;
    this.#onNews = onNews;
  }

  /** Slots of a session that a link may use, those that it uses among them. */
  slotsFor(session: Session, link: DispatchLink): number {
    const { slots, tasks } = session;
    if (this.#links.size < 2) return slots;
    const contest = this.#contests.get(session);
    if (contest !== undefined) return this.#shares(session, contest).get(link) ?? 0;
    return Math.min(slots, tasks.heldBy(link) + Math.max(0, slots - tasks.busy));
  }

  /** True when a further task would be more than the agent takes. A single link is trusted to count for itself. */
  isFull({ slots, tasks }: Session, further: CarriedAssignment): boolean {
    const over = tasks.busy + further.slots > slots;
    return this.#links.size > 1 && over && !tasks.has(further.taskId);
  }

  /** A link says whether it wants more of a session. */
  demand(link: DispatchLink, session: Session, { wanted, held }: Demand): void {
    const contest = this.#contests.get(session) ?? newContest();
    if (wanted) contest.claims.set(link, held);
    else contest.claims.delete(link);
    if (contest.claims.size > 0) this.#contests.set(session, contest);
    else this.#contests.delete(session);
    this.changed(session);
  }

  /** A link assigned a task: the next turn is another's. */
  assigned(link: DispatchLink, session: Session): void {
    const contest = this.#contests.get(session);
    if (contest === undefined) return;
    contest.idleSteps = 0;
    const claim = contest.claims.get(link);
    if (claim !== undefined) passTurn(contest, link, claim);
  }

  /** What is in hand of a session changed, or its slots, or who wants more of it. To be called after every such change. */
  changed(session: Session): void {
    if (this.#links.size < 2) return;
    const contest = this.#contests.get(session);
    if (contest !== undefined) contest.shares = undefined;
    for (const link of this.#links) {
      const told = link.toldSlots(session);
      if (told === undefined || told === this.slotsFor(session, link)) continue;
      if (contest?.claims.has(link)) link.pushSlots(session);
      else this.#note(session);
    }
  }

  /** The session is over: nobody wants more of it. */
  end(session: Session): void {
    this.#contests.delete(session);
    this.#news.delete(session);
  }

  /** A link came or went: every number may be another. */
  linksChanged(sessions: Iterable<Session>): void {
    for (const [session, contest] of this.#contests) {
      const { claims } = contest;
      contest.shares = undefined;
      for (const link of claims.keys()) if (!this.#links.has(link)) claims.delete(link);
      if (claims.size === 0) this.#contests.delete(session);
    }
    for (const session of sessions) this.#note(session);
  }

  /** Tells what did not have to be told at once. Call it soon after there is news. */
  tell(): void {
    for (const session of this.#news) {
      for (const link of this.#links) {
        const told = link.toldSlots(session);
        if (told !== undefined && told !== this.slotsFor(session, link)) link.pushSlots(session);
      }
    }
    this.#news.clear();
  }

  /** Passes on turns that are not used: an orchestrator that is stuck, or forgot to take its demand back, must not keep
   * the last slot from the others. The pause doubles each time, so that those who want and do not take are
   * no endless exchange of turns. Call it at a steady pace. */
  turn(): void {
    if (this.#links.size < 2) return;
    for (const [session, contest] of this.#contests) {
      if (contest.claims.size < 2) continue;
      const free = session.attached && session.tasks.busy < session.slots;
      contest.idleSteps = free ? contest.idleSteps + 1 : 0;
      if (!isTurnStep(contest.idleSteps)) continue;
      const [first] = contest.claims;
      if (first !== undefined) passTurn(contest, ...first);
      this.changed(session);
    }
  }

  #note(session: Session): void {
    this.#news.add(session);
    this.#onNews();
  }

  #shares(session: Session, contest: Contest): ReadonlyMap<DispatchLink, number> {
    contest.shares ??= this.#compute(session, contest);
    return contest.shares;
  }

  #compute({ slots, tasks }: Session, { claims }: Contest): Map<DispatchLink, number> {
    const others = [...this.#links].filter((link) => !claims.has(link));
    const links = [...claims.keys(), ...others];
    const holders = links.map((link) => ({
      held: tasks.heldBy(link),
      claimed: claims.get(link) ?? 0,
      wants: claims.has(link),
    }));
    const owned = holders.reduce((total, { held }) => total + held, 0);
    const shares = shareSlots(slots, Math.max(0, tasks.busy - owned), holders);
    return new Map(links.map((link, index) => [link, shares[index] ?? 0]));
  }
}

function newContest(): Contest {
  return { claims: new Map(), idleSteps: 0, shares: undefined };
}

function passTurn({ claims }: Contest, link: DispatchLink, held: number): void {
  claims.delete(link);
  claims.set(link, held);
}

/** True at 2, 4, 8 and so on, and then every SLOT_TURN_STEPS_MAX steps. */
function isTurnStep(steps: number): boolean {
  if (steps < 2) return false;
  return (steps & (steps - 1)) === 0 || steps % SLOT_TURN_STEPS_MAX === 0;
}
