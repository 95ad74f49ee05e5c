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
import { FRAME_ITEMS_MAX, MESSAGE_TIMEOUT_DEFAULT_MS } from "../../domain/limits.ts";
import type { Letter } from "../../domain/message.ts";
import { expectId, expectType, id, message, payload, text, timeout } from "./checks.ts";
import { checkCredit, checkGoodbye, checkHeartbeat, checkHello, checkReauth } from "./rules.ts";
import { readTaskUpdate } from "./task-update.ts";

/** A frame from an agent. */
export interface AgentFrame {
  hello: Hello | undefined;
  heartbeat: Heartbeat | undefined;
  credit: Credit | undefined;
  readonly updates: CarriedUpdate[];
  readonly sends: Letter[];
  /** Delivery ids. */
  readonly acks: string[];
  reauth: Reauth | undefined;
  goodbye: Goodbye | undefined;
}

const MESSAGE_ID_MAX = 64;
const AGENT_ID_MAX = 128;
const SUBJECT_MAX = 128;
const TRACEPARENT_MAX = 64;
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
type Draft = { -readonly [K in keyof Letter]: Letter[K] };

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
  };
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) readSendField(reader, draft);
  reader.leave(outer);
  expectId(draft.messageId, "message_id");
  return draft;
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
      draft.timeoutMs = timeout(reader);
      break;
    case 8:
      draft.traceparent = text(reader, "traceparent", TRACEPARENT_MAX);
      break;
    default:
      reader.skip();
  }
}

function readAck(reader: WireReader): string {
  let deliveryId = "";
  message(reader, (inner) => {
    if (inner.field === 1) deliveryId = id(inner, "delivery_id", MESSAGE_ID_MAX);
    else inner.skip();
  });
  expectId(deliveryId, "delivery_id");
  return deliveryId;
}

/** Fails for a list longer than a frame may hold. */
export function expectAtMost(list: readonly unknown[], what: string): void {
  if (list.length > FRAME_ITEMS_MAX) {
    throw new WireError(`${what} must have at most ${FRAME_ITEMS_MAX} items`);
  }
}
