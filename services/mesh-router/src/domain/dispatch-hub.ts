/** Work between orchestrators and sessions: who hears what, and what is refused. */
import type {
  AssignmentOrigin,
  CarriedLease,
  CarriedOrder,
  CarriedUpdate,
  RefusalReason,
  SessionName,
} from "./carried.ts";
import { isTerminalUpdate } from "./carried.ts";
import { DispatchLink, type DispatchStream } from "./dispatch-link.ts";
import { DISPATCH_LINKS_MAX } from "./limits.ts";
import { dispatchLimit } from "./mesh-errors.ts";
import type { DispatchEvents, SessionObserver } from "./ports.ts";
import type { Session } from "./session.ts";
import type { SessionDirectory } from "./session-directory.ts";

/** What the hub is made from. */
export interface DispatchHubInit {
  readonly directory: SessionDirectory;
  readonly events: DispatchEvents;
  /** The number of tasks in an agent's hands changed. */
  readonly onTally: (session: Session) => void;
}

/** Carries work both ways. Knows sessions and links; decides nothing about tasks. */
export class DispatchHub implements SessionObserver {
  readonly #directory: SessionDirectory;
  readonly #events: DispatchEvents;
  readonly #onTally: (session: Session) => void;
  readonly #links = new Set<DispatchLink>();

  constructor(init: DispatchHubInit) {
    this.#directory = init.directory;
    this.#events = init.events;
    this.#onTally = init.onTally;
  }

  get links(): number {
    return this.#links.size;
  }

  /** Adds an orchestrator's stream; it begins with the snapshot.
   *
   * Errors: exhausted/DISPATCH_LIMIT. */
  attach(orchestratorId: string, stream: DispatchStream): DispatchLink {
    if (this.#links.size >= DISPATCH_LINKS_MAX) throw dispatchLimit(DISPATCH_LINKS_MAX);
    const link = new DispatchLink(orchestratorId, stream);
    this.#links.add(link);
    link.begin(this.#directory);
    this.#events.orchestratorAttached(orchestratorId);
    return link;
  }

  detach(link: DispatchLink): void {
    link.close();
    if (this.#links.delete(link)) this.#events.orchestratorDetached(link.orchestratorId);
  }

  /** Tells every orchestrator that a session changed. */
  sessionChanged(session: Session): void {
    for (const link of this.#links) link.pushSession(session);
  }

  /** Passes an agent's word on to every orchestrator: the one that owns the task answers. */
  publish(session: Session, update: CarriedUpdate): void {
    const { kind } = update;
    if (isTerminalUpdate(kind)) {
      session.tasks.end(update.taskId, update.fence);
      this.#onTally(session);
    } else {
      session.tasks.hear(update.taskId, update.fence);
    }
    const routed = { session, update };
    for (const link of this.#links) {
      if (link.pushUpdate(routed) === "dropped") this.#events.updateDropped(kind);
    }
  }

  /** Hands an assignment to its session, or refuses it. */
  assign(
    origin: AssignmentOrigin,
    { to, assignment }: { readonly to: SessionName; readonly assignment: CarriedOrder },
    nowMs: number,
  ): void {
    const session = this.#directory.find(to.namespace, to.agentId);
    const reason = whyNot(session, to.epoch);
    if (session === undefined || reason !== undefined) {
      this.#refuse(origin, { to, assignment, reason: reason ?? "NO_SESSION" });
    } else if (session.offerAssignment(assignment)) {
      const { taskId, fence } = assignment;
      session.tasks.assign({ taskId, fence, origin, handedAtMs: nowMs });
      this.#onTally(session);
    } else {
      this.#refuse(origin, { to, assignment, reason: "SESSION_TOO_SLOW" });
    }
  }

  cancel(to: SessionName, cancel: CarriedOrder): void {
    const session = this.#live(to);
    if (session === undefined) return;
    session.tasks.cancel(cancel.taskId, cancel.fence);
    this.#onTally(session);
    session.pushCancel(cancel);
  }

  answer(to: SessionName, result: Uint8Array): void {
    this.#live(to)?.pushResult(result);
  }

  /** Gives back the assignments that a broken stream may not have carried. One that was carried after all ends up
   * with a stale fence, which is safe; one that was not would otherwise wait for its timeout. */
  giveBack(session: Session, reason: RefusalReason): void {
    session.outbox.takeBackAssignments();
    for (const { taskId, fence, origin } of session.tasks.takeUnheard()) {
      this.#refuse(origin, { to: session, assignment: { taskId, fence }, reason });
    }
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
