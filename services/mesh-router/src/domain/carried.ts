/** What the router carries. It knows these few fields and passes the objects on as they came: payloads are opaque.
 *
 * Messages of the contract fit these shapes, so nothing is copied between the wire and the queues. */

import { COPY_RATIO } from "./limits.ts";

/** A body with a media type. */
export interface CarriedPayload {
  readonly contentType: string;
  data: Uint8Array;
}

/** Copies a small body out of the large frame it came in, so that waiting does not hold the frame's memory. */
export function detachFromFrame(payload: CarriedPayload): void {
  if (payload.data.buffer.byteLength > COPY_RATIO * payload.data.byteLength) {
    payload.data = payload.data.slice();
  }
}

/** Names one lease of one task. */
export interface CarriedLease {
  readonly taskId: string;
  readonly fence: bigint;
}

/** An assignment for an agent. */
export type CarriedAssignment = CarriedLease;

/** A cancel for an agent. */
export type CarriedCancel = CarriedLease;

/** An answer to a terminal update. */
export type CarriedResult = CarriedLease;

/** An agent's word about a lease. */
export interface CarriedUpdate extends CarriedLease {
  readonly update: { readonly case: UpdateCase | undefined };
}

/** The cases of TaskUpdate.update. */
export type UpdateCase = "accepted" | "progress" | "chunk" | "completed" | "failed" | "released";

/** Says whether an update ends its lease. */
export function isTerminalUpdate(kind: UpdateCase | undefined): boolean {
  return kind === "completed" || kind === "failed" || kind === "released";
}

/** Says whether an update may be dropped under load: the contract promises nothing for it. */
export function isDroppableUpdate(kind: UpdateCase | undefined): boolean {
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
  | "SESSION_TOO_SLOW";

/** An assignment that did not reach its agent. */
export interface Refusal extends CarriedLease {
  readonly session: SessionName;
  readonly reason: RefusalReason;
}

/** Whoever handed an assignment over and wants to hear when it came back. */
export interface AssignmentOrigin {
  /** True once it is gone: somebody else has to hear. */
  readonly over: boolean;
  refuse(refusal: Refusal): void;
}
