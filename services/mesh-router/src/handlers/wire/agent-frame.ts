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
import type { CarriedUpdate } from "../../domain/carried.ts";
import {
  ACK_WAIT_DEFAULT_MS,
  FRAME_ITEMS_MAX,
  MAIL_TTL_DEFAULT_MS,
  MESSAGE_TIMEOUT_DEFAULT_MS,
} from "../../domain/limits.ts";
import type { AckKind, Acknowledgement, MailTerms } from "../../domain/mail.ts";
import type { Letter } from "../../domain/message.ts";
import { duration, enumUpTo, expectId, expectType, id, message, payload, text } from "./checks.ts";
import { checkCredit, checkGoodbye, checkHeartbeat, checkHello, checkReauth } from "./rules.ts";
import { readTaskUpdate } from "./task-update.ts";

/** A frame from an agent. */
export interface AgentFrame {
  hello: Hello | undefined;
  heartbeat: Heartbeat | undefined;
  credit: Credit | undefined;
  readonly updates: CarriedUpdate[];
  readonly sends: Letter[];
  readonly acks: Acknowledgement[];
  reauth: Reauth | undefined;
  goodbye: Goodbye | undefined;
}

const MESSAGE_ID_MAX = 64;
const AGENT_ID_MAX = 128;
const SUBJECT_MAX = 128;
const TRACEPARENT_MAX = 64;
const TIMEOUT_MAX_MS = 600_000;
const TTL_MIN_MS = 1_000;
const TTL_MAX_MS = 604_800_000;
const ACK_WAIT_MIN_MS = 1_000;
const ACK_TEXT_MAX = 512;
/** DeliveryClass.DURABLE, the highest number of the enum. */
const DURABLE = 2;
/** By the numbers of AckKind. */
const ACK_KINDS: readonly AckKind[] = ["done", "done", "extend", "retry", "reject"];
const NOTHING = Buffer.alloc(0);

/** Reads a frame and checks it by the contract's rules.
 *
 * Errors: WireError; what protobuf-es throws for a malformed message. */
export function readAgentFrame(bytes: Buffer): AgentFrame {
  const reader = new WireReader(bytes);
  const frame: AgentFrame = {
    hello: undefined,
    heartbeat: undefined,
    credit: undefined,
    updates: [],
    sends: [],
    acks: [],
    reauth: undefined,
    goodbye: undefined,
  };
  while (reader.next()) readField(reader, frame);
  expectAtMost(frame.updates, "task_updates");
  expectAtMost(frame.sends, "sends");
  expectAtMost(frame.acks, "acks");
  return frame;
}

function readField(reader: WireReader, frame: AgentFrame): void {
  switch (reader.field) {
    case 4:
      frame.updates.push(readTaskUpdate(reader));
      break;
    case 5:
      frame.sends.push(readSend(reader));
      break;
    case 6:
      frame.acks.push(readAck(reader));
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

/** A letter whose fields are filled while it is read. */
type Draft = { -readonly [K in keyof Letter]: Letter[K] } & {
  durable: boolean;
  terms: { -readonly [K in keyof MailTerms]: MailTerms[K] } | undefined;
};

function readSend(reader: WireReader): Letter {
  const draft: Draft = {
    messageId: "",
    toAgentId: "",
    payload: NOTHING,
    subject: NOTHING,
    expectsReply: false,
    inReplyTo: "",
    timeoutMs: MESSAGE_TIMEOUT_DEFAULT_MS,
    traceparent: NOTHING,
    mail: undefined,
    durable: false,
    terms: undefined,
  };
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) readSendField(reader, draft);
  reader.leave(outer);
  expectId(draft.messageId, "message_id");
  if (draft.durable) draft.mail = termsOf(draft);
  return draft;
}

function termsOf(draft: Draft): NonNullable<Draft["terms"]> {
  draft.terms ??= { ttlMs: MAIL_TTL_DEFAULT_MS, ackWaitMs: ACK_WAIT_DEFAULT_MS };
  return draft.terms;
}

function readSendField(reader: WireReader, draft: Draft): void {
  switch (reader.field) {
    case 1:
      draft.messageId = id(reader, "message_id", MESSAGE_ID_MAX);
      break;
    case 2:
      draft.toAgentId = id(reader, "to_agent_id", AGENT_ID_MAX);
      break;
    case 3:
      draft.payload = payload(reader);
      break;
    case 4:
      draft.subject = text(reader, "subject", SUBJECT_MAX);
      break;
    case 5:
      expectType(reader, VARINT);
      draft.expectsReply = reader.bool();
      break;
    case 6:
      draft.inReplyTo = id(reader, "in_reply_to", MESSAGE_ID_MAX);
      break;
    case 7:
      draft.timeoutMs = duration(reader, "timeout", 1, TIMEOUT_MAX_MS);
      break;
    case 8:
      draft.traceparent = text(reader, "traceparent", TRACEPARENT_MAX);
      break;
    case 9:
      draft.durable = enumUpTo(reader, "delivery_class", DURABLE) === DURABLE;
      break;
    case 10:
      termsOf(draft).ttlMs = duration(reader, "ttl", TTL_MIN_MS, TTL_MAX_MS);
      break;
    case 11:
      termsOf(draft).ackWaitMs = duration(reader, "ack_wait", ACK_WAIT_MIN_MS, TIMEOUT_MAX_MS);
      break;
    default:
      reader.skip();
  }
}

function readAck(reader: WireReader): Acknowledgement {
  let deliveryId = "";
  let kind: AckKind = "done";
  let why = "";
  message(reader, (inner) => {
    if (inner.field === 1) deliveryId = id(inner, "delivery_id", MESSAGE_ID_MAX);
    else if (inner.field === 2) kind = readAckKind(inner);
    else if (inner.field === 3) why = text(inner, "ack.message", ACK_TEXT_MAX).toString();
    else inner.skip();
  });
  expectId(deliveryId, "delivery_id");
  return { deliveryId, kind, text: why };
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
