/** What the router carries: bytes that it passes on as they came, and the few fields that it has to know. */

import { detachFromFrame } from "@nexus/shared";
import type { Letter } from "./letter.ts";

/** Copies what a letter shows of the frame that it came in. */
export function detachLetter(letter: Letter): Letter {
  return {
    ...letter,
    payload: detachFromFrame(letter.payload),
    subject: detachFromFrame(letter.subject),
    traceparent: detachFromFrame(letter.traceparent),
  };
}

/** Names one lease of one task. */
export interface CarriedLease {
  readonly taskId: string;
  readonly fence: bigint;
}

/** An assignment or a cancel for an agent. */
export interface CarriedOrder extends CarriedLease {
  /** The encoded message. */
  bytes: Uint8Array;
}

/** An assignment for an agent. */
export interface CarriedAssignment extends CarriedOrder {
  /** Slots of the agent that it takes. */
  readonly slots: number;
}

/** An agent's word about a lease. */
export interface CarriedUpdate extends CarriedLease {
  readonly kind: UpdateKind;
  /** The encoded TaskUpdate. */
  bytes: Uint8Array;
}

/** What an update says. */
export type UpdateKind = "accepted" | "progress" | "chunk" | "completed" | "failed" | "released";

/** Says whether an update ends its lease. */
export function isTerminalUpdate(kind: UpdateKind): boolean {
  return kind === "completed" || kind === "failed" || kind === "released";
}

/** Says whether an update may be dropped under load: the contract promises nothing for it. */
export function isDroppableUpdate(kind: UpdateKind): boolean {
  return kind === "progress" || kind === "chunk";
}

/** Names one epoch of one agent. */
export interface SessionName {
  readonly namespace: string;
  readonly agentId: string;
  readonly epoch: bigint;
}

/** Why an assignment did not reach its agent: the stable words of the contract. */
export type RefusalReason =
  | "NO_SESSION"
  | "EPOCH_MISMATCH"
  | "DETACHED"
  | "DRAINING"
  | "NO_SLOT"
  | "SESSION_TOO_SLOW";

/** An assignment that did not reach its agent. */
export interface Refusal extends CarriedLease {
  readonly session: SessionName;
  readonly reason: RefusalReason;
}

/** Whether an orchestrator has more to give to a session than it was told it may. */
export interface Demand {
  readonly wanted: boolean;
  /** Leases of the session that it says it holds, by whatever stream they were assigned. */
  readonly held: number;
}

/** Whoever handed an assignment over and wants to hear when it came back. */
export interface AssignmentOrigin {
  /** True once it is gone: somebody else has to hear. */
  readonly over: boolean;
  refuse(refusal: Refusal): void;
}
