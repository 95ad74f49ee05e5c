/** What an agent's frames do, one function for one frame. */
import type { CallContext } from "@nexus/rpc";
import type { Clock } from "@nexus/shared";
import type { DispatchHub } from "../domain/dispatch/dispatch-hub.ts";
import { frameInvalid, reauthRefused } from "../domain/mesh-errors.ts";
import type { MessageEngine } from "../domain/message/message-engine.ts";
import type { MessageSwitch } from "../domain/message/message-switch.ts";
import type { Session } from "../domain/session/session.ts";
import type { SessionLifecycle } from "../domain/session/session-lifecycle.ts";
import type { SubscriptionDesk } from "../domain/topic/subscription-desk.ts";
import type { StateOps } from "./state/state-ops.ts";
import type { AgentFrame } from "./wire/agent-frame.ts";

/** What frames act on. */
export interface FrameDeps {
  readonly lifecycle: SessionLifecycle;
  readonly engine: MessageEngine;
  readonly messages: MessageSwitch;
  readonly subscriptions: SubscriptionDesk;
  readonly hub: DispatchHub;
  readonly clock: Clock;
  readonly heartbeatIntervalMs: number;
}

/** An idle agent's heartbeat settles the count of its tasks once they had this many intervals to arrive. */
const SETTLE_INTERVALS = 2;

/** Whose frames they are. */
export interface FrameSource {
  readonly session: Session;
  readonly ops: StateOps;
  readonly ctx: CallContext;
}

/** Applies a frame to its session: operations on state after everything else, so that one too many costs the agent nothing else that
 * it said, and a goodbye last, as it takes no more of them.
 *
 * Errors: invalid/FRAME_INVALID for a second hello, or too many state operations; unauthenticated/TOKEN_INVALID for a bad
 * reauth. */
export async function applyFrame(
  deps: FrameDeps,
  { session, ops, ctx }: FrameSource,
  frame: AgentFrame,
): Promise<void> {
  if (frame.hello !== undefined) throw frameInvalid("The session is open: no second hello.");
  if (frame.reauth !== undefined) await reauthenticate(ctx, frame.reauth.accessToken);
  applyItems(deps, session, frame);
  for (const op of frame.stateOps) ops.begin(op);
  for (const number of frame.stateCancels) ops.cancel(number);
  if (frame.goodbye !== undefined) deps.lifecycle.goodbye(session);
}

/** Whatever is wrong with the new token, the session cannot live by it. */
async function reauthenticate(ctx: CallContext, token: string): Promise<void> {
  try {
    await ctx.reauthenticate(token);
  } catch (error) {
    throw reauthRefused(error);
  }
}

function applyItems(deps: FrameDeps, session: Session, frame: AgentFrame): void {
  const { lifecycle, engine, hub, messages, subscriptions } = deps;
  const nowMs = deps.clock.nowMs();
  lifecycle.heard(session, nowMs);
  for (const ack of frame.acks) engine.acknowledge(session, ack, nowMs);
  for (const order of frame.unsubscribes) subscriptions.unsubscribe(session, order);
  for (const order of frame.subscribes) subscriptions.subscribe(session, order);
  for (const send of frame.sends) {
    if (!session.knows(send.messageId)) messages.send(session, send);
  }
  for (const messageId of frame.cancels) {
    session.tookBack(messageId);
    engine.cancel(session, messageId);
  }
  for (const update of frame.updates) hub.publish(session, update);
  if (frame.heartbeat !== undefined) {
    const settleMs = SETTLE_INTERVALS * deps.heartbeatIntervalMs;
    hub.reconcile(session, frame.heartbeat.busySlots, nowMs, settleMs);
  }
  if (frame.credit !== undefined) {
    const { slots, messages } = frame.credit;
    if (slots !== undefined) lifecycle.setSlots(session, slots);
    if (messages > 0) engine.grant(session, messages);
  }
}
