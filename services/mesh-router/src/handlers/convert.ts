/** Contract messages <-> domain values, for what is not carried. */
import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import {
  type AssignmentRefusal,
  AssignmentRefusalSchema,
  DeliveryOutcome,
  type SendOutcome,
  SendOutcomeSchema,
  SessionState,
  type SessionStatus,
  SessionStatusSchema,
} from "@nexus/proto/mesh";
import type { ToldSession } from "../domain/dispatch/dispatch-link.ts";
import { MESSAGE_TIMEOUT_DEFAULT_MS } from "../domain/limits.ts";
import type { Refusal } from "../domain/message/carried.ts";
import type { Outcome, SendResult } from "../domain/message/letter.ts";
import type { SessionState as DomainState } from "../domain/session/session-state.ts";

/** The contract's number of each outcome. */
export const OUTCOME_NUMBERS: Readonly<Record<Outcome, DeliveryOutcome>> = {
  delivered: DeliveryOutcome.DELIVERED,
  overloaded: DeliveryOutcome.OVERLOADED,
  expired: DeliveryOutcome.EXPIRED,
  no_such_agent: DeliveryOutcome.NO_SUCH_AGENT,
  refused: DeliveryOutcome.REFUSED,
  queued: DeliveryOutcome.QUEUED,
  breaker_open: DeliveryOutcome.BREAKER_OPEN,
  loop: DeliveryOutcome.LOOP,
  hop_limit: DeliveryOutcome.HOP_LIMIT,
  cancelled: DeliveryOutcome.CANCELLED,
};

const STATES: Readonly<Record<DomainState, SessionState>> = {
  connected: SessionState.CONNECTED,
  draining: SessionState.DRAINING,
  detached: SessionState.DETACHED,
  closed: SessionState.CLOSED,
  lost: SessionState.LOST,
};

/** Reads the time a message is worth; the contract bounds it. */
export function timeoutOf(timeout: Duration | undefined): number {
  return timeout === undefined ? MESSAGE_TIMEOUT_DEFAULT_MS : durationMs(timeout);
}

/** Writes the answer to a Send. */
export function toSendOutcome(result: SendResult): SendOutcome {
  const { messageId, retryAfterMs, reason = "", position = 0, duplicate = false } = result;
  const { receivers = 0, missed = 0, replies = 0, failureReason = "" } = result;
  const outcome = OUTCOME_NUMBERS[result.outcome];
  const retryAfter = retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(retryAfterMs) };
  return create(SendOutcomeSchema, {
    messageId,
    outcome,
    message: result.text,
    ...retryAfter,
    reason,
    position: BigInt(position),
    duplicate,
    receivers,
    missed,
    replies,
    failureReason,
  });
}

/** Describes a session for an orchestrator. */
export function toSessionStatus({ session, slots }: ToldSession): SessionStatus {
  const { namespace, agentId, epoch } = session;
  const state = STATES[session.state];
  return create(SessionStatusSchema, { session: { namespace, agentId, epoch }, state, slots });
}

/** Writes a refusal. */
export function toRefusal({ session, taskId, fence, reason }: Refusal): AssignmentRefusal {
  const { namespace, agentId, epoch } = session;
  const ref = { namespace, agentId, epoch };
  return create(AssignmentRefusalSchema, { session: ref, taskId, fence, reason });
}
