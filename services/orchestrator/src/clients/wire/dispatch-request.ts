/** Writes the items of DispatchRequest. A frame is its items one after the other, whatever their kind: a parser gathers repeated
 * fields (protobuf.dev, "Encoding"), so an item is written once, when it comes up, and into the frame itself. */
import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import {
  fieldSize,
  fieldSizeIfAny,
  textSize,
  uint64Size,
  uintSize,
  type WireWriter,
} from "@nexus/rpc";
import type { Assignment, CancelReason, SessionRef, UpdateOutcome } from "../../domain/ports.ts";
import type { Payload } from "../../domain/task.ts";

/** Field numbers of DispatchRequest. */
const ORCHESTRATOR_ID = 1;
const ASSIGNMENTS = 2;
const CANCELS = 3;
const RESULTS = 4;
const DEMANDS = 5;
/** Every item has its session in field 1 and what it carries in field 2. */
const SESSION = 1;
const CARRIED = 2;
/** Field 16 of Assignment has a tag of two bytes. */
const SLOT_COST = 16;
const LONG_TAG_EXTRA = 1;
const MS_PER_S = 1_000;
const NANOS_PER_MS = 1e6;

/** A lease that is over, or the answer to a word about one. */
interface LeaseRef {
  readonly taskId: string;
  readonly fence: bigint;
}

/** Writes who speaks: the first frame of a stream. */
export function writeHello(writer: WireWriter, orchestratorId: string): void {
  writer.text(ORCHESTRATOR_ID, orchestratorId);
}

/** Writes an assignment with its address. */
export function writeAssignment(
  writer: WireWriter,
  session: SessionRef,
  assignment: Assignment,
): void {
  const { taskId, jobId, taskKey, fence, attempt, capability, capabilityVersion } = assignment;
  const { input, upstream, slotCost, traceparent } = assignment;
  const seconds = Math.floor(assignment.timeoutMs / MS_PER_S);
  const nanos = Math.round((assignment.timeoutMs - seconds * MS_PER_S) * NANOS_PER_MS);
  const timeout = uintSize(seconds) + uintSize(nanos);
  let size =
    textSize(taskId) +
    textSize(jobId) +
    textSize(taskKey) +
    uint64Size(fence) +
    uintSize(attempt) +
    textSize(capability) +
    textSize(capabilityVersion) +
    (input === undefined ? 0 : fieldSize(payloadSize(input))) +
    fieldSize(timeout) +
    textSize(traceparent) +
    uintSize(slotCost) +
    LONG_TAG_EXTRA;
  for (const [name, payload] of upstream) size += fieldSize(upstreamSize(name, payload));
  openItem(writer, ASSIGNMENTS, session, size);
  writer.text(1, taskId);
  writer.text(2, jobId);
  writer.text(3, taskKey);
  writer.uint64(4, fence);
  writer.uint(5, attempt);
  writer.text(6, capability);
  writer.text(7, capabilityVersion);
  if (input !== undefined) writePayload(writer, 8, input);
  for (const [name, payload] of upstream) {
    writer.open(9, upstreamSize(name, payload));
    writer.text(1, name);
    writePayload(writer, 2, payload);
  }
  writer.open(10, timeout);
  writer.uint(1, seconds);
  writer.uint(2, nanos);
  writer.text(11, traceparent);
  writer.uint(SLOT_COST, slotCost);
}

/** Writes a cancel with its address. */
export function writeCancel(
  writer: WireWriter,
  session: SessionRef,
  { taskId, fence, reason }: LeaseRef & { readonly reason: CancelReason },
): void {
  openItem(writer, CANCELS, session, textSize(taskId) + uint64Size(fence) + textSize(reason));
  writer.text(1, taskId);
  writer.uint64(2, fence);
  writer.text(3, reason);
}

/** Writes the answer to an agent's terminal word, with its address. */
export function writeResult(
  writer: WireWriter,
  session: SessionRef,
  { taskId, fence, outcome }: LeaseRef & { readonly outcome: UpdateOutcome },
): void {
  const number = TaskUpdateOutcome[outcome];
  openItem(writer, RESULTS, session, textSize(taskId) + uint64Size(fence) + uintSize(number));
  writer.text(1, taskId);
  writer.uint64(2, fence);
  writer.uint(3, number);
}

/** Writes what is wanted of a session, and how much of it is held. */
export function writeDemand(
  writer: WireWriter,
  session: SessionRef,
  { wanted, held }: { readonly wanted: boolean; readonly held: number },
): void {
  const ref = refSize(session);
  const flag = wanted ? 1 : 0;
  writer.open(DEMANDS, fieldSize(ref) + uintSize(flag) + uintSize(held));
  writeRef(writer, session, ref);
  writer.uint(2, flag);
  writer.uint(3, held);
}

function openItem(writer: WireWriter, field: number, session: SessionRef, size: number): void {
  const ref = refSize(session);
  writer.open(field, fieldSize(ref) + fieldSize(size));
  writeRef(writer, session, ref);
  writer.open(CARRIED, size);
}

function refSize({ namespace, agentId, epoch }: SessionRef): number {
  return textSize(namespace) + textSize(agentId) + uint64Size(epoch);
}

function writeRef(
  writer: WireWriter,
  { namespace, agentId, epoch }: SessionRef,
  size: number,
): void {
  writer.open(SESSION, size);
  writer.text(1, namespace);
  writer.text(2, agentId);
  writer.uint64(3, epoch);
}

function payloadSize({ contentType, data, storedBytes }: Payload): number {
  const body =
    storedBytes === undefined
      ? fieldSizeIfAny(data.length)
      : fieldSize(referenceSize(data, storedBytes));
  return textSize(contentType) + body;
}

function referenceSize(sha256: Uint8Array, storedBytes: number): number {
  return fieldSize(sha256.length) + uintSize(storedBytes);
}

function writePayload(writer: WireWriter, field: number, payload: Payload): void {
  writer.open(field, payloadSize(payload));
  const { contentType, data, storedBytes } = payload;
  writer.text(1, contentType);
  if (storedBytes === undefined) {
    writer.bytesIfAny(2, data);
    return;
  }
  writer.open(3, referenceSize(data, storedBytes));
  writer.bytes(1, data);
  writer.uint(2, storedBytes);
}

function upstreamSize(name: string, payload: Payload): number {
  return textSize(name) + fieldSize(payloadSize(payload));
}
