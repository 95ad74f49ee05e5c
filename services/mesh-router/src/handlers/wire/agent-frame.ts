/** Reads ConnectRequest: the lists in place, the few other messages through their generated types. */
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Credit,
  CreditSchema,
  type Goodbye,
  GoodbyeSchema,
  type Heartbeat,
  HeartbeatSchema,
  type Hello,
  HelloSchema,
  type Reauth,
  ReauthSchema,
} from "@nexus/proto/mesh";
import { LENGTH, VARINT, WireError, WireReader } from "@nexus/rpc";
import { FRAME_ITEMS_MAX } from "../../domain/limits.ts";
import type { AckKind, Acknowledgement } from "../../domain/mail/mail.ts";
import type { CarriedUpdate } from "../../domain/message/carried.ts";
import type { Letter } from "../../domain/message/letter.ts";
import type { SubscriptionOrder } from "../../domain/topic/subscription-desk.ts";
import { enumUpTo, expectId, expectType, fields, id, text } from "./checks.ts";
import { checkCredit, checkGoodbye, checkHeartbeat, checkHello, checkReauth } from "./rules.ts";
import { nothingLikely, readSend } from "./send.ts";
import { readStateCancels, readStateOp, type StateOp } from "./state-op.ts";
import { readTaskUpdate } from "./task-update.ts";

/** A frame from an agent. */
export interface AgentFrame {
  hello: Hello | undefined;
  heartbeat: Heartbeat | undefined;
  credit: Credit | undefined;
  readonly updates: CarriedUpdate[];
  readonly sends: Letter[];
  readonly acks: Acknowledgement[];
  readonly subscribes: SubscriptionOrder[];
  readonly unsubscribes: SubscriptionOrder[];
  /** Message ids. */
  readonly cancels: string[];
  readonly stateOps: StateOp[];
  /** Numbers of operations. */
  readonly stateCancels: number[];
  reauth: Reauth | undefined;
  goodbye: Goodbye | undefined;
}

const MESSAGE_ID_MAX = 64;
const ACK_TEXT_MAX = 512;
const ACK_REASON_MAX = 128;
const PATTERN_MAX = 256;
const PATTERN = /^(([*]|[A-Za-z0-9_-]+)([.]([*]|[A-Za-z0-9_-]+)){0,14}([.]>)?|>)$/;
const GROUP_MAX = 128;
/** By the numbers of AckKind. */
const ACK_KINDS: readonly AckKind[] = ["done", "done", "extend", "retry", "reject"];

/** Reads a frame and checks it by the contract's rules.
 *
 * Errors: WireError; what protobuf-es throws for a malformed message. */
export function readAgentFrame(bytes: Buffer, nowMs: () => number): AgentFrame {
  const reader = new WireReader(bytes);
  const frame: AgentFrame = {
    hello: undefined,
    heartbeat: undefined,
    credit: undefined,
    updates: [],
    sends: [],
    acks: [],
    subscribes: [],
    unsubscribes: [],
    cancels: [],
    stateOps: [],
    stateCancels: [],
    reauth: undefined,
    goodbye: undefined,
  };
  const likely = nothingLikely();
  const readOneSend = (): Letter => readSend(reader, nowMs, likely);
  while (reader.next()) readField(reader, frame, readOneSend);
  expectAtMost(frame.updates, "task_updates");
  expectAtMost(frame.sends, "sends");
  expectAtMost(frame.acks, "acks");
  expectAtMost(frame.subscribes, "subscribes");
  expectAtMost(frame.unsubscribes, "unsubscribes");
  expectAtMost(frame.cancels, "send_cancels");
  expectAtMost(frame.stateOps, "state_ops");
  expectAtMost(frame.stateCancels, "state_cancels");
  return frame;
}

function readField(reader: WireReader, frame: AgentFrame, readOneSend: () => Letter): void {
  switch (reader.field) {
    case 4:
      frame.updates.push(readTaskUpdate(reader));
      break;
    case 5:
      frame.sends.push(readOneSend());
      break;
    case 6:
      frame.acks.push(readAck(reader));
      break;
    case 9:
      frame.subscribes.push(readSubscription(reader));
      break;
    case 10:
      frame.unsubscribes.push(readSubscription(reader));
      break;
    case 11:
      frame.cancels.push(readCancel(reader));
      break;
    case 12:
      frame.stateOps.push(readStateOp(reader));
      break;
    case 13:
      readStateCancels(reader, frame.stateCancels);
      break;
    case 1:
    case 2:
    case 3:
    case 7:
    case 8:
      readSingle(reader, frame);
      break;
    default:
      reader.skip();
  }
}

function readSingle(reader: WireReader, frame: AgentFrame): void {
  const { field } = reader;
  expectType(reader, LENGTH);
  const bytes = reader.bytes();
  if (field === 1) frame.hello = checkHello(fromBinary(HelloSchema, bytes));
  else if (field === 2) frame.heartbeat = checkHeartbeat(fromBinary(HeartbeatSchema, bytes));
  else if (field === 3) frame.credit = checkCredit(fromBinary(CreditSchema, bytes));
  else if (field === 7) frame.reauth = checkReauth(fromBinary(ReauthSchema, bytes));
  else frame.goodbye = checkGoodbye(fromBinary(GoodbyeSchema, bytes));
}

function readSubscription(reader: WireReader): SubscriptionOrder {
  let pattern = "";
  let group = "";
  let durable = false;
  fields(reader, (inner) => {
    if (inner.field === 1) pattern = id(inner, "subscription.pattern", PATTERN_MAX);
    else if (inner.field === 2) group = id(inner, "subscription.group", GROUP_MAX);
    else if (inner.field === 3) {
      expectType(inner, VARINT);
      durable = inner.bool();
    } else inner.skip();
  });
  if (!PATTERN.test(pattern)) throw new WireError("subscription.pattern is not a pattern");
  return { pattern, group, durable };
}

function readCancel(reader: WireReader): string {
  const messageId = id(reader, "send_cancels", MESSAGE_ID_MAX);
  expectId(messageId, "send_cancels");
  return messageId;
}

function readAck(reader: WireReader): Acknowledgement {
  let deliveryId = "";
  let kind: AckKind = "done";
  let why = "";
  let reason: string | undefined;
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) deliveryId = id(reader, "delivery_id", MESSAGE_ID_MAX);
    else if (reader.field === 2) kind = readAckKind(reader);
    else if (reader.field === 3) why = text(reader, "ack.message", ACK_TEXT_MAX).toString();
    else if (reader.field === 4) reason = id(reader, "ack.reason", ACK_REASON_MAX);
    else reader.skip();
  }
  reader.leave(outer);
  expectId(deliveryId, "delivery_id");
  return { deliveryId, kind, text: why, reason };
}

function readAckKind(reader: WireReader): AckKind {
  return ACK_KINDS[enumUpTo(reader, "ack.kind", ACK_KINDS.length - 1)] as AckKind;
}

/** Fails for a list longer than a frame may hold. */
export function expectAtMost(list: readonly unknown[], what: string): void {
  if (list.length > FRAME_ITEMS_MAX) {
    throw new WireError(`${what} must have at most ${FRAME_ITEMS_MAX} items`);
  }
}
