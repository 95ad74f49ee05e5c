/** What routers send rarely, and what agents send, as the engine speaks of it. Total. */
import {
  type AssignmentRefusal,
  SessionState,
  type SessionStatus,
  type SessionRef as WireSessionRef,
} from "@nexus/proto/mesh";
import type { Refusal, SessionRef, SessionReport } from "../domain/ports.ts";
import { toStorableText } from "../domain/settlement.ts";
import type { Payload } from "../domain/task.ts";

const CONTENT_TYPE_MAX_CHARS = 128;
const DEFAULT_CONTENT_TYPE = "application/octet-stream";

const STATES: Readonly<Record<SessionState, SessionReport["state"] | undefined>> = {
  [SessionState.UNSPECIFIED]: undefined,
  [SessionState.CONNECTED]: "CONNECTED",
  [SessionState.DETACHED]: "DETACHED",
  [SessionState.DRAINING]: "DRAINING",
  [SessionState.CLOSED]: "CLOSED",
  [SessionState.LOST]: "LOST",
};

function toSessionRef(session: WireSessionRef): SessionRef {
  return { namespace: session.namespace, agentId: session.agentId, epoch: session.epoch };
}

/** Reads a session's status; undefined for one without a session or with a state of a later version. */
export function toSessionReport(status: SessionStatus): SessionReport | undefined {
  const state = STATES[status.state];
  if (status.session === undefined || state === undefined) return undefined;
  return { session: toSessionRef(status.session), state, slots: status.slots };
}

/** Reads a refusal. */
export function toRefusal(refusal: AssignmentRefusal): Refusal | undefined {
  if (refusal.session === undefined) return undefined;
  const { taskId, fence, reason } = refusal;
  return { session: toSessionRef(refusal.session), taskId, fence, reason };
}

/** What agents send is stored with that of others in one statement, so its text must be storable whatever it is. */
export function toOutput(payload: Payload | undefined): Payload {
  const contentType = toStorableText(payload?.contentType ?? "").slice(0, CONTENT_TYPE_MAX_CHARS);
  return {
    ...payload,
    contentType: contentType === "" ? DEFAULT_CONTENT_TYPE : contentType,
    data: payload?.data ?? new Uint8Array(),
  };
}
