/** Contract messages <-> domain values. Carried messages pass as they are: the domain never looks inside them. */
import { create } from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  durationFromMs,
  durationMs,
  type Timestamp,
  TimestampSchema,
} from "@bufbuild/protobuf/wkt";
import { type Payload, PayloadSchema } from "@nexus/proto/common";
import {
  type Assignment,
  AssignmentRefusalSchema,
  type ConnectResponse,
  ConnectResponseSchema,
  type Delivery,
  DeliveryOutcome,
  DeliverySchema,
  DrainSchema,
  type RoutedUpdate,
  RoutedUpdateSchema,
  type Send,
  type SendOutcome,
  SendOutcomeSchema,
  type SessionRef,
  SessionRefSchema,
  SessionState,
  type SessionStatus,
  SessionStatusSchema,
  type TaskCancel,
  type TaskUpdate,
  type TaskUpdateResult,
} from "@nexus/proto/mesh";
import type { Refusal, SessionName } from "../domain/carried.ts";
import type { RoutedUpdate as DomainUpdate } from "../domain/dispatch-link.ts";
import { ITEM_OVERHEAD_BYTES, MESSAGE_TIMEOUT_DEFAULT_MS } from "../domain/limits.ts";
import type { Letter, Message, Outcome, SendResult } from "../domain/message.ts";
import { type AgentBatch, payloadBytes } from "../domain/outbox.ts";
import type { Session } from "../domain/session.ts";
import type { SessionState as DomainState } from "../domain/session-state.ts";

const OUTCOMES: Readonly<Record<Outcome, DeliveryOutcome>> = {
  delivered: DeliveryOutcome.DELIVERED,
  overloaded: DeliveryOutcome.OVERLOADED,
  expired: DeliveryOutcome.EXPIRED,
  no_such_agent: DeliveryOutcome.NO_SUCH_AGENT,
  refused: DeliveryOutcome.REFUSED,
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

/** Reads a message to send. */
export function toLetter(send: Send): Letter {
  return {
    messageId: send.messageId,
    toAgentId: send.toAgentId,
    payload: send.payload ?? create(PayloadSchema),
    subject: send.subject,
    expectsReply: send.expectsReply,
    inReplyTo: send.inReplyTo,
    timeoutMs: timeoutOf(send.timeout),
    traceparent: send.traceparent,
  };
}

/** Writes a frame for an agent. */
export function toConnectResponse(batch: AgentBatch, nowMs: number): ConnectResponse {
  const frame = create(ConnectResponseSchema);
  frame.assignments = batch.assignments as Assignment[];
  frame.cancels = batch.cancels as TaskCancel[];
  frame.taskUpdateResults = batch.results as TaskUpdateResult[];
  for (const message of batch.deliveries) frame.deliveries.push(toDelivery(message, nowMs));
  for (const result of batch.outcomes) frame.sendOutcomes.push(toSendOutcome(result));
  if (batch.drain !== undefined) {
    const { reason, reconnectWithinMs } = batch.drain;
    frame.drain = create(DrainSchema, {
      reason,
      reconnectWithin: durationFromMs(reconnectWithinMs),
    });
  }
  return frame;
}

function toDelivery(message: Message, nowMs: number): Delivery {
  const delivery = create(DeliverySchema);
  delivery.deliveryId = message.deliveryId;
  delivery.fromPrincipalId = message.sender.principalId;
  delivery.payload = message.payload as Payload | undefined;
  delivery.subject = message.subject;
  delivery.expectsReply = message.expectsReply;
  delivery.inReplyTo = message.inReplyTo;
  delivery.timeout = toDuration(Math.max(0, message.expiresAtMs - nowMs));
  delivery.acceptTime = toTimestamp(message.acceptedAtMs);
  delivery.traceparent = message.traceparent;
  return delivery;
}

/** Writes the answer to a Send. */
export function toSendOutcome(result: SendResult): SendOutcome {
  const outcome = create(SendOutcomeSchema);
  outcome.messageId = result.messageId;
  outcome.outcome = OUTCOMES[result.outcome];
  outcome.message = result.text;
  if (result.retryAfterMs !== undefined) outcome.retryAfter = durationFromMs(result.retryAfterMs);
  return outcome;
}

/** Describes a session for orchestrators. */
export function toSessionStatus(session: Session): SessionStatus {
  const status = create(SessionStatusSchema);
  status.session = sessionRef(session);
  status.state = STATES[session.state];
  status.slots = session.slots;
  return status;
}

/** Writes an agent's update with its origin. */
export function toRoutedUpdate({ session, update }: DomainUpdate): RoutedUpdate {
  const routed = create(RoutedUpdateSchema);
  routed.session = sessionRef(session);
  routed.update = update as TaskUpdate;
  return routed;
}

/** Writes a refusal. */
export function toRefusal({ session, taskId, fence, reason }: Refusal) {
  const { namespace, agentId, epoch } = session;
  const ref = create(SessionRefSchema, { namespace, agentId, epoch });
  return create(AssignmentRefusalSchema, { session: ref, taskId, fence, reason });
}

/** One reference message serves every update of a session. */
const refs = new WeakMap<Session, SessionRef>();

function sessionRef(session: Session): SessionRef {
  const known = refs.get(session);
  if (known !== undefined) return known;
  const { namespace, agentId, epoch } = session;
  const ref = create(SessionRefSchema, { namespace, agentId, epoch });
  refs.set(session, ref);
  return ref;
}

const NOBODY: SessionName = { namespace: "", agentId: "", epoch: 0n };

/** Reads an address; an absent one names nobody. */
export function toSessionName(ref: SessionRef | undefined): SessionName {
  return ref ?? NOBODY;
}

/** Estimates what an assignment costs on the wire. */
export function assignmentBytes({ input, upstream }: Assignment): number {
  let bytes = payloadBytes(input);
  for (const name in upstream) bytes += payloadBytes(upstream[name]);
  return bytes;
}

/** Estimates what an update costs on the wire. */
export function updateBytes({ update }: TaskUpdate): number {
  if (update.case === "completed") return payloadBytes(update.value.output);
  if (update.case === "chunk") return payloadBytes(update.value);
  return ITEM_OVERHEAD_BYTES;
}

function toDuration(ms: number): Duration {
  const duration = create(DurationSchema);
  const seconds = Math.floor(ms / 1_000);
  duration.seconds = BigInt(seconds);
  duration.nanos = Math.floor((ms - seconds * 1_000) * 1e6);
  return duration;
}

function toTimestamp(atMs: number): Timestamp {
  const timestamp = create(TimestampSchema);
  const seconds = Math.floor(atMs / 1_000);
  timestamp.seconds = BigInt(seconds);
  timestamp.nanos = Math.floor((atMs - seconds * 1_000) * 1e6);
  return timestamp;
}
