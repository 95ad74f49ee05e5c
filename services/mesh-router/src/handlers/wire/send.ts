/** Reads Send in place, by the contract's rules. */
import { LENGTH, VARINT, WireError, type WireReader } from "@nexus/rpc";
import {
  ACK_WAIT_DEFAULT_MS,
  MAIL_TTL_DEFAULT_MS,
  MESSAGE_TIMEOUT_DEFAULT_MS,
} from "../../domain/limits.ts";
import type { MailTerms } from "../../domain/mail/mail.ts";
import type { Chain, GatherTerms, LeaseRef, Letter, Target } from "../../domain/message/letter.ts";
import {
  duration,
  enumUpTo,
  expectId,
  expectType,
  fields,
  id,
  idLike,
  payload,
  positive,
  text,
  textLike,
} from "./checks.ts";

const MESSAGE_ID_MAX = 64;
const AGENT_ID_MAX = 128;
const SUBJECT_MAX = 128;
const CAPABILITY_MAX = 128;
const TRACEPARENT_MAX = 64;
const TASK_ID_MAX = 64;
const TOPIC_MAX = 256;
const TOPIC = /^([A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){0,15})?$/;
/** The longest timeout, which a reply has whose replier says none: it ends with its request. */
const TIMEOUT_MAX_MS = 600_000;
const TTL_MIN_MS = 1_000;
const TTL_MAX_MS = 604_800_000;
const ACK_WAIT_MIN_MS = 1_000;
const CHAIN_HOPS_MAX = 64;
const QUORUM_MAX = 1_000;
/** DeliveryClass.DURABLE, the highest number of the enum. */
const DURABLE = 2;
/** By the numbers of GatherMode. */
const GATHER_MODES: readonly GatherTerms["mode"][] = ["all", "first", "all", "quorum"];
const NOTHING = Buffer.alloc(0);

/** A letter whose fields are filled while it is read. */
type Draft = { -readonly [K in keyof Letter]: Letter[K] } & {
  durable: boolean;
  terms: { -readonly [K in keyof MailTerms]: MailTerms[K] } | undefined;
};

/** What the message before had: those of a frame are mostly alike. */
export interface Likely {
  toAgentId: string;
  subject: Buffer;
}

/** What comes before the first message of a frame. */
export function nothingLikely(): Likely {
  return { toAgentId: "", subject: NOTHING };
}

/** Reads a Send; the clock is for times that are left. Errors: WireError. */
export function readSend(reader: WireReader, nowMs: () => number, likely: Likely): Letter {
  const draft: Draft = {
    messageId: "",
    toAgentId: "",
    payload: NOTHING,
    subject: NOTHING,
    expectsReply: false,
    inReplyTo: "",
    timeoutMs: 0,
    traceparent: NOTHING,
    mail: undefined,
    target: undefined,
    manyAddresses: false,
    chain: undefined,
    lease: undefined,
    gather: undefined,
    more: false,
    durable: false,
    terms: undefined,
  };
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field <= 8) readFirstFields(reader, draft, likely);
    else if (reader.field <= 14) readDelivery(reader, draft);
    else readCause(reader, draft, nowMs);
  }
  reader.leave(outer);
  expectId(draft.messageId, "message_id");
  if (draft.timeoutMs === 0) {
    draft.timeoutMs = draft.inReplyTo === "" ? MESSAGE_TIMEOUT_DEFAULT_MS : TIMEOUT_MAX_MS;
  }
  if (draft.durable) draft.mail = termsOf(draft);
  return draft;
}

function termsOf(draft: Draft): NonNullable<Draft["terms"]> {
  draft.terms ??= { ttlMs: MAIL_TTL_DEFAULT_MS, ackWaitMs: ACK_WAIT_DEFAULT_MS };
  return draft.terms;
}

function readFirstFields(reader: WireReader, draft: Draft, likely: Likely): void {
  switch (reader.field) {
    case 1:
      draft.messageId = id(reader, "message_id", MESSAGE_ID_MAX);
      break;
    case 2:
      likely.toAgentId = idLike(reader, likely.toAgentId, "to_agent_id", AGENT_ID_MAX);
      draft.toAgentId = likely.toAgentId;
      break;
    case 3:
      draft.payload = payload(reader);
      break;
    case 4:
      likely.subject = textLike(reader, likely.subject, "subject", SUBJECT_MAX);
      draft.subject = likely.subject;
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
    default:
      draft.traceparent = text(reader, "traceparent", TRACEPARENT_MAX);
  }
}

function readDelivery(reader: WireReader, draft: Draft): void {
  switch (reader.field) {
    case 9:
      draft.durable = enumUpTo(reader, "delivery_class", DURABLE) === DURABLE;
      break;
    case 10:
      termsOf(draft).ttlMs = duration(reader, "ttl", TTL_MIN_MS, TTL_MAX_MS);
      break;
    case 11:
      termsOf(draft).ackWaitMs = duration(reader, "ack_wait", ACK_WAIT_MIN_MS, TIMEOUT_MAX_MS);
      break;
    case 12:
      address(draft, "capability", id(reader, "to_capability", CAPABILITY_MAX));
      break;
    case 13:
      address(draft, "topic", topic(reader));
      break;
    default:
      expectType(reader, VARINT);
      if (reader.bool()) address(draft, "all", "*");
  }
}

function address(draft: Draft, kind: Target["kind"], name: string): void {
  if (name === "") return;
  if (draft.target !== undefined && draft.target.kind !== kind) draft.manyAddresses = true;
  draft.target = { kind, name };
}

function topic(reader: WireReader): string {
  const name = id(reader, "to_topic", TOPIC_MAX);
  if (!TOPIC.test(name)) throw new WireError("to_topic is not a topic");
  return name;
}

function readCause(reader: WireReader, draft: Draft, nowMs: () => number): void {
  switch (reader.field) {
    case 15:
      draft.chain = readChain(reader, nowMs);
      break;
    case 16:
      draft.lease = readLease(reader);
      break;
    case 17:
      draft.gather = readGather(reader);
      break;
    case 18:
      expectType(reader, VARINT);
      draft.more = reader.bool();
      break;
    default:
      reader.skip();
  }
}

function readChain(reader: WireReader, nowMs: () => number): Chain {
  let hops = 0;
  let deadlineAtMs: number | undefined;
  const ancestors: string[] = [];
  fields(reader, (inner) => {
    if (inner.field === 1) hops = int(inner, "chain.hops", CHAIN_HOPS_MAX);
    else if (inner.field === 2) {
      const ancestor = id(inner, "chain.ancestors", AGENT_ID_MAX);
      expectId(ancestor, "chain.ancestors");
      ancestors.push(ancestor);
    } else if (inner.field === 3) {
      deadlineAtMs = nowMs() + duration(inner, "chain.left", 0, TTL_MAX_MS);
    } else inner.skip();
  });
  if (ancestors.length > CHAIN_HOPS_MAX) {
    throw new WireError(`chain.ancestors must have at most ${CHAIN_HOPS_MAX} items`);
  }
  return { hops, ancestors, deadlineAtMs };
}

function readLease(reader: WireReader): LeaseRef {
  let taskId = "";
  let fence = 0n;
  fields(reader, (inner) => {
    if (inner.field === 1) taskId = id(inner, "lease.task_id", TASK_ID_MAX);
    else if (inner.field === 2) fence = positive(inner, "lease.fence");
    else inner.skip();
  });
  expectId(taskId, "lease.task_id");
  if (fence === 0n) throw new WireError("lease.fence must be greater than 0");
  return { taskId, fence };
}

function readGather(reader: WireReader): GatherTerms {
  let mode: GatherTerms["mode"] = "all";
  let quorum = 0;
  fields(reader, (inner) => {
    if (inner.field === 1) {
      const number = enumUpTo(inner, "gather.mode", GATHER_MODES.length - 1);
      mode = GATHER_MODES[number] as GatherTerms["mode"];
    } else if (inner.field === 2) quorum = int(inner, "gather.quorum", QUORUM_MAX);
    else inner.skip();
  });
  return { mode, quorum };
}

function int(reader: WireReader, what: string, max: number): number {
  expectType(reader, VARINT);
  const value = reader.int32();
  if (value < 0 || value > max) throw new WireError(`${what} must be 0 to ${max}`);
  return value;
}
