/** One orchestrator's stream: what waits for it, joined into frames. */
import { detachFromFrame, type NexusError } from "@nexus/shared";
import { Fifo } from "../fifo.ts";
import {
  DISPATCH_PRESSURE_BYTES,
  DISPATCH_PRESSURE_ITEMS,
  DISPATCH_QUEUE_BYTES_MAX,
  DISPATCH_QUEUE_MAX,
  FRAME_BYTES_MAX,
  FRAME_ITEMS_MAX,
} from "../limits.ts";
import { dispatchTooSlow } from "../mesh-errors.ts";
import {
  type AssignmentOrigin,
  type CarriedUpdate,
  isDroppableUpdate,
  type Refusal,
} from "../message/carried.ts";
import { sizeOf } from "../message/outbox.ts";
import type { Session } from "../session/session.ts";

/** An agent's update with its origin. */
export interface RoutedUpdate {
  readonly session: Session;
  readonly update: CarriedUpdate;
}

/** A session and the slots of it that this orchestrator may use. */
export interface ToldSession {
  readonly session: Session;
  readonly slots: number;
}

/** The content of one frame to an orchestrator. Sessions come before updates: a session's first update never
 * precedes the session itself. */
export interface OrchestratorBatch {
  readonly sessions: ToldSession[];
  readonly snapshotComplete: boolean;
  readonly updates: RoutedUpdate[];
  readonly refusals: Refusal[];
}

/** The stream that serves a link. */
export interface DispatchStream {
  wake(): void;
  fail(error: NexusError): void;
}

/** What became of an update that was offered to a link. */
export type UpdateFate = "queued" | "dropped";

/** Says how many slots of a session an orchestrator may use now. */
export type SlotsFor = (session: Session, link: DispatchLink) => number;

/** A bounded queue of changes for one orchestrator replica.
 *
 * A session waits at most once and is described as it is when the frame is made, so changes never pile up. */
export class DispatchLink implements AssignmentOrigin {
  readonly orchestratorId: string;
  readonly #stream: DispatchStream;
  readonly #slotsFor: SlotsFor;
  /** The number of slots that was said last. */
  readonly #told = new WeakMap<Session, number>();
  /** Sessions to describe, each with how many updates had been queued when it last changed. */
  readonly #sessions = new Map<Session, number>();
  /** Sessions whose number of slots may differ from what was said; a frame takes those where it does. */
  readonly #renumbered = new Set<Session>();
  /** Sessions of the snapshot that are not sent yet; undefined once the snapshot is complete. */
  #snapshot: Set<Session> | undefined;
  readonly #updates = new Fifo<RoutedUpdate>();
  #updateBytes = 0;
  #updatesQueued = 0;
  #updatesTaken = 0;
  readonly #refusals = new Fifo<Refusal>();
  #over = false;

  constructor(orchestratorId: string, stream: DispatchStream, slotsFor: SlotsFor) {
    this.orchestratorId = orchestratorId;
    this.#stream = stream;
    this.#slotsFor = slotsFor;
  }

  /** True once the stream ended: nothing more can be said to it. */
  get over(): boolean {
    return this.#over;
  }

  /** Updates that wait. */
  get queued(): number {
    return this.#updates.length;
  }

  /** Begins with everything that is live. Called once, before anything else is pushed. */
  begin(sessions: Iterable<Session>): void {
    this.#snapshot = new Set(sessions);
    for (const session of this.#snapshot) this.#sessions.set(session, 0);
    this.#stream.wake();
  }

  /** The session changed. */
  pushSession(session: Session): void {
    if (this.#over) return;
    this.#sessions.set(session, this.#updatesQueued);
    this.#stream.wake();
  }

  /** The number of slots may have changed, and nothing else. */
  pushSlots(session: Session): void {
    if (this.#over) return;
    this.#renumbered.add(session);
    this.#stream.wake();
  }

  /** The number of slots that was said last; undefined before the session's first status. */
  toldSlots(session: Session): number | undefined {
    return this.#told.get(session);
  }

  /** Offers an update. One that the contract lets go is dropped under pressure; the others end a full stream. */
  pushUpdate(update: RoutedUpdate): UpdateFate {
    if (this.#over) return "dropped";
    const pressed = this.#isPressed();
    if (pressed && isDroppableUpdate(update.update.kind)) return "dropped";
    if (
      this.#updates.length >= DISPATCH_QUEUE_MAX ||
      this.#updateBytes >= DISPATCH_QUEUE_BYTES_MAX
    ) {
      this.close(dispatchTooSlow());
      return "dropped";
    }
    if (pressed) update.update.bytes = detachFromFrame(update.update.bytes);
    this.#updates.push(update);
    this.#updatesQueued += 1;
    this.#updateBytes += sizeOf(update.update);
    this.#stream.wake();
    return "queued";
  }

  refuse(refusal: Refusal): void {
    if (this.#over) return;
    if (this.#refusals.length >= DISPATCH_QUEUE_MAX) {
      this.close(dispatchTooSlow());
      return;
    }
    this.#refusals.push(refusal);
    this.#stream.wake();
  }

  /** Takes the next frame; undefined when nothing waits. */
  take(): OrchestratorBatch | undefined {
    const sessions = this.#takeSessions();
    this.#takeRenumbered(sessions);
    const waits = sessions.length + this.#updates.length + this.#refusals.length;
    if (waits === 0 && this.#snapshot === undefined) return undefined;
    return {
      sessions,
      snapshotComplete: this.#completesSnapshot(sessions),
      updates: this.#takeUpdates(),
      refusals: this.#takeRefusals(),
    };
  }

  /** Ends the link and forgets what waits; ends its stream too when there is an error to tell. */
  close(error?: NexusError): void {
    if (this.#over) return;
    this.#over = true;
    this.#sessions.clear();
    this.#renumbered.clear();
    this.#updates.remove(() => true);
    this.#refusals.remove(() => true);
    if (error !== undefined) this.#stream.fail(error);
  }

  #isPressed(): boolean {
    return (
      this.#updates.length >= DISPATCH_PRESSURE_ITEMS ||
      this.#updateBytes >= DISPATCH_PRESSURE_BYTES
    );
  }

  /** A session that ended is held back until the updates before its end are out: what an agent finished before it
   * left must not arrive after its leases were ended. */
  #takeSessions(): ToldSession[] {
    const taken: ToldSession[] = [];
    for (const [session, afterUpdate] of this.#sessions) {
      if (taken.length >= FRAME_ITEMS_MAX) break;
      if (session.over && afterUpdate > this.#updatesTaken) continue;
      this.#sessions.delete(session);
      this.#renumbered.delete(session);
      taken.push(this.#tell(session));
    }
    return taken;
  }

  /** Adds the sessions whose number really changed: one that went and came back is not worth a word. */
  #takeRenumbered(taken: ToldSession[]): void {
    for (const session of this.#renumbered) {
      if (taken.length >= FRAME_ITEMS_MAX) break;
      if (this.#sessions.has(session)) continue;
      this.#renumbered.delete(session);
      if (session.over || this.#slotsFor(session, this) === this.#told.get(session)) continue;
      taken.push(this.#tell(session));
    }
  }

  #tell(session: Session): ToldSession {
    const slots = this.#slotsFor(session, this);
    this.#told.set(session, slots);
    return { session, slots };
  }

  #completesSnapshot(sent: readonly ToldSession[]): boolean {
    const snapshot = this.#snapshot;
    if (snapshot === undefined) return false;
    for (const { session } of sent) snapshot.delete(session);
    if (snapshot.size > 0) return false;
    this.#snapshot = undefined;
    return true;
  }

  #takeUpdates(): RoutedUpdate[] {
    const taken: RoutedUpdate[] = [];
    let bytes = 0;
    for (let next = this.#updates.peek(); next !== undefined; next = this.#updates.peek()) {
      if (taken.length >= FRAME_ITEMS_MAX) break;
      const sizeBytes = sizeOf(next.update);
      if (bytes > 0 && bytes + sizeBytes > FRAME_BYTES_MAX) break;
      this.#updates.shift();
      this.#updateBytes -= sizeBytes;
      bytes += sizeBytes;
      taken.push(next);
    }
    this.#updatesTaken += taken.length;
    return taken;
  }

  #takeRefusals(): Refusal[] {
    const taken: Refusal[] = [];
    for (let next = this.#refusals.shift(); next !== undefined; next = this.#refusals.shift()) {
      taken.push(next);
      if (taken.length >= FRAME_ITEMS_MAX) break;
    }
    return taken;
  }
}
