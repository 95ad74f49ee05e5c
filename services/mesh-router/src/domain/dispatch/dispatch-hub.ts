/** Work between orchestrators and sessions: who hears what, and what is refused. */

import {
  ASSIGNMENTS_FREE_BYTES,
  ASSIGNMENTS_WAITING_BYTES_MAX,
  DISPATCH_LINKS_MAX,
} from "../limits.ts";
import { dispatchLimit } from "../mesh-errors.ts";
import type {
  AssignmentOrigin,
  CarriedAssignment,
  CarriedLease,
  CarriedOrder,
  CarriedUpdate,
  Demand,
  RefusalReason,
  SessionName,
} from "../message/carried.ts";
import { isTerminalUpdate } from "../message/carried.ts";
import type { DispatchEvents, SessionObserver } from "../ports.ts";
import type { Session } from "../session/session.ts";
import type { SessionDirectory } from "../session/session-directory.ts";
import { DispatchLink, type DispatchStream } from "./dispatch-link.ts";
import { SlotBoard } from "./slot-board.ts";

/** What the hub is made from. */
export interface DispatchHubInit {
  readonly directory: SessionDirectory;
  readonly events: DispatchEvents;
  /** The number of tasks in an agent's hands changed. */
  readonly onTally: (session: Session) => void;
  /** There is something for `slots.tell()`. */
  readonly onSlotNews?: () => void;
}

/** Carries work both ways. Knows sessions and links; decides nothing about tasks. */
export class DispatchHub implements SessionObserver {
  readonly #directory: SessionDirectory;
  readonly #events: DispatchEvents;
  readonly #onTally: (session: Session) => void;
  readonly #links = new Set<DispatchLink>();
  /** Shares the slots of sessions among the links. */
  readonly slots: SlotBoard;

  constructor(init: DispatchHubInit) {
    this.#directory = init.directory;
    this.#events = init.events;
    this.#onTally = init.onTally;
    this.slots = new SlotBoard(this.#links, init.onSlotNews);
  }

  get links(): number {
    return this.#links.size;
  }

  /** Adds an orchestrator's stream; it begins with the snapshot. An earlier one of the same start of the same orchestrator is over: it gave
   * that up, and what is said to it, nobody hears.
   *
   * Errors: exhausted/DISPATCH_LIMIT. */
  attach(orchestratorId: string, stream: DispatchStream): DispatchLink {
    for (const earlier of this.#links) {
      if (earlier.orchestratorId === orchestratorId) this.detach(earlier);
    }
    if (this.#links.size >= DISPATCH_LINKS_MAX) throw dispatchLimit(DISPATCH_LINKS_MAX);
    const link = new DispatchLink(orchestratorId, stream, (session, to) =>
      this.slots.slotsFor(session, to),
    );
    this.#links.add(link);
    link.begin(this.#directory);
    this.slots.linksChanged(this.#directory);
    this.#events.orchestratorAttached(orchestratorId);
    return link;
  }

  detach(link: DispatchLink): void {
    link.close();
    if (!this.#links.delete(link)) return;
    this.slots.linksChanged(this.#directory);
    this.#events.orchestratorDetached(link.orchestratorId);
  }

  /** Tells every orchestrator that a session changed. */
  sessionChanged(session: Session): void {
    if (session.over) this.slots.end(session);
    else this.slots.changed(session);
    for (const link of this.#links) link.pushSession(session);
  }

  /** Passes an agent's word on to the orchestrator that assigned the task; to all when that one is gone or unknown:
   * whoever owns the task now answers. */
  publish(session: Session, update: CarriedUpdate): void {
    const { kind, taskId, fence } = update;
    const terminal = isTerminalUpdate(kind);
    const { tasks } = session;
    const origin = terminal ? tasks.end(taskId, fence) : tasks.hear(taskId, fence);
    for (const link of this.#listeners(origin)) {
      if (link.pushUpdate({ session, update }) === "dropped") this.#events.updateDropped(kind);
    }
    if (terminal) this.#recounted(session);
  }

  /** Corrects the count of a session's tasks by its agent's own. */
  reconcile(session: Session, reportedBusy: number, nowMs: number, settleMs: number): void {
    session.tasks.reconcile(reportedBusy, nowMs, settleMs);
    this.#recounted(session);
  }

  /** Hands an assignment to its session, or refuses it. One of a lease in hand is never refused: its sender owns the task
   * now and hears of it from here on; the agent, which knows the lease, repeats what it said about it. */
  assign(
    link: DispatchLink,
    { to, assignment }: { readonly to: SessionName; readonly assignment: CarriedAssignment },
    nowMs: number,
  ): void {
    if (this.#adopt(link, to, assignment)) return;
    const session = this.#directory.find(to.namespace, to.agentId);
    const reason = whyNot(session, to.epoch);
    if (session === undefined || reason !== undefined) {
      this.#refuse(link, { to, assignment, reason: reason ?? "NO_SESSION" });
    } else if (this.slots.isFull(session, assignment)) {
      this.#refuse(link, { to, assignment, reason: "NO_SLOT" });
      link.pushSlots(session);
    } else if (this.#hasRoom(session) && session.offerAssignment(assignment)) {
      const { taskId, fence, slots } = assignment;
      session.tasks.assign({ taskId, fence, slots, origin: link, handedAtMs: nowMs });
      this.slots.assigned(link, session);
      this.#recounted(session);
    } else {
      this.#refuse(link, { to, assignment, reason: "SESSION_TOO_SLOW" });
    }
  }

  /** True while a lease is in its agent's hands, as far as is known here. */
  holds(to: SessionName, lease: CarriedLease): boolean {
    return this.#live(to)?.tasks.holds(lease) ?? false;
  }

  cancel(to: SessionName, cancel: CarriedOrder): void {
    const session = this.#live(to);
    if (session === undefined) return;
    session.tasks.cancel(cancel.taskId, cancel.fence);
    this.#recounted(session);
    session.pushCancel(cancel);
  }

  /** An orchestrator says whether it wants more of a session's slots. */
  demand(link: DispatchLink, to: SessionName, demand: Demand): void {
    const session = this.#live(to);
    if (session !== undefined) this.slots.demand(link, session, demand);
  }

  answer(to: SessionName, result: Uint8Array): void {
    this.#live(to)?.pushResult(result);
  }

  /** Gives back the assignments that a broken stream may not have carried. One that was carried after all ends up
   * with a stale fence, which is safe; one that was not would otherwise wait for its timeout. */
  giveBack(session: Session, reason: RefusalReason): void {
    session.outbox.takeBackAssignments();
    const unheard = session.tasks.takeUnheard();
    for (const { taskId, fence, origin } of unheard) {
      this.#refuse(origin, { to: session, assignment: { taskId, fence }, reason });
    }
    if (unheard.length > 0) this.slots.changed(session);
  }

  /** Agents that do not read must not fill the memory of all. Summed up when one is slow, and not kept: nothing can be left out of it. */
  #hasRoom({ namespace, outbox }: Session): boolean {
    if (outbox.assignmentBytes <= ASSIGNMENTS_FREE_BYTES) return true;
    let own = 0;
    let all = 0;
    for (const other of this.#directory) {
      const { assignmentBytes } = other.outbox;
      all += assignmentBytes;
      if (other.namespace === namespace) own += assignmentBytes;
    }
    return own < ASSIGNMENTS_WAITING_BYTES_MAX - all;
  }

  /** Those who hear of a task: the link that assigned it while it is there, else all. */
  #listeners(origin: AssignmentOrigin | undefined): Iterable<DispatchLink> {
    if (origin === undefined || origin.over) return this.#links;
    for (const link of this.#links) if (link === origin) return [link];
    return this.#links;
  }

  #recounted(session: Session): void {
    this.#onTally(session);
    this.slots.changed(session);
  }

  #adopt(link: DispatchLink, to: SessionName, assignment: CarriedOrder): boolean {
    const session = this.#live(to);
    if (session?.tasks.adopt(assignment, link) !== true) return false;
    if (session.attached) session.offerAssignment(assignment);
    this.#recounted(session);
    return true;
  }

  #live(to: SessionName): Session | undefined {
    const session = this.#directory.find(to.namespace, to.agentId);
    return session !== undefined && !session.over && session.epoch === to.epoch
      ? session
      : undefined;
  }

  #refuse(
    origin: AssignmentOrigin,
    refused: { to: SessionName; assignment: CarriedLease; reason: RefusalReason },
  ): void {
    const { to, assignment, reason } = refused;
    const refusal = { session: to, taskId: assignment.taskId, fence: assignment.fence, reason };
    this.#events.assignmentRefused(reason);
    if (!origin.over) origin.refuse(refusal);
    else for (const link of this.#links) link.refuse(refusal);
  }
}

/** Says why a session cannot take an assignment; undefined when it can. */
function whyNot(session: Session | undefined, epoch: bigint): RefusalReason | undefined {
  if (session === undefined || session.over) return "NO_SESSION";
  if (session.epoch !== epoch) return "EPOCH_MISMATCH";
  if (session.state === "detached") return "DETACHED";
  return session.state === "draining" ? "DRAINING" : undefined;
}
