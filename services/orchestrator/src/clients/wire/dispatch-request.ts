/** Writes the items of DispatchRequest. A frame is its items one after the other, whatever their kind: a parser gathers repeated
 * fields (protobuf.dev, "Encoding"), so an item is written once, when it comes up, and into the frame itself. */
import { TaskUpdateOutcome } from "@nexus/proto/mesh";
import type { WireWriter } from "@nexus/rpc";
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
/** Bytes that the length of a nested message takes, mostly: of less than 128 bytes, and of more. */
const SHORT = 1;
const LONG = 2;
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
  const item = openItem(writer, ASSIGNMENTS, session, LONG);
  const carried = writer.openUnsized(CARRIED, LONG);
  writer.text(1, assignment.taskId);
  writer.text(2, assignment.jobId);
  writer.text(3, assignment.taskKey);
  writer.uint64(4, assignment.fence);
  writer.uint(5, assignment.attempt);
  writer.text(6, assignment.capability);
  writer.text(7, assignment.capabilityVersion);
  if (assignment.input !== undefined) writePayload(writer, 8, assignment.input);
  for (const [name, payload] of assignment.upstream) writeUpstream(writer, name, payload);
  writeTimeout(writer, assignment.timeoutMs);
  writer.text(11, assignment.traceparent);
  writer.uint(16, assignment.slotCost);
  writer.closeUnsized(carried, LONG);
  writer.closeUnsized(item, LONG);
}

/** Writes a cancel with its address. */
export function writeCancel(
  writer: WireWriter,
  session: SessionRef,
  { taskId, fence, reason }: LeaseRef & { readonly reason: CancelReason },
): void {
  const item = openItem(writer, CANCELS, session, SHORT);
  const carried = writer.openUnsized(CARRIED, SHORT);
  writer.text(1, taskId);
  writer.uint64(2, fence);
  writer.text(3, reason);
  writer.closeUnsized(carried, SHORT);
  writer.closeUnsized(item, SHORT);
}

/** Writes the answer to an agent's terminal word, with its address. */
export function writeResult(
  writer: WireWriter,
  session: SessionRef,
  { taskId, fence, outcome }: LeaseRef & { readonly outcome: UpdateOutcome },
): void {
  const item = openItem(writer, RESULTS, session, SHORT);
  const carried = writer.openUnsized(CARRIED, SHORT);
  writer.text(1, taskId);
  writer.uint64(2, fence);
  writer.uint(3, TaskUpdateOutcome[outcome]);
  writer.closeUnsized(carried, SHORT);
  writer.closeUnsized(item, SHORT);
}

/** Writes what is wanted of a session, and how much of it is held. */
export function writeDemand(
  writer: WireWriter,
  session: SessionRef,
  { wanted, held }: { readonly wanted: boolean; readonly held: number },
): void {
  const item = openItem(writer, DEMANDS, session, SHORT);
  writer.uint(2, wanted ? 1 : 0);
  writer.uint(3, held);
  writer.closeUnsized(item, SHORT);
}

/** Begins an item with its session; returns where it begins, to close it. */
function openItem(
  writer: WireWriter,
  field: number,
  { namespace, agentId, epoch }: SessionRef,
  guess: number,
): number {
  const item = writer.openUnsized(field, guess);
  const session = writer.openUnsized(SESSION, SHORT);
  writer.text(1, namespace);
  writer.text(2, agentId);
  writer.uint64(3, epoch);
  writer.closeUnsized(session, SHORT);
  return item;
}

function writePayload(writer: WireWriter, field: number, payload: Payload): void {
  const { contentType, data, storedBytes } = payload;
  const message = writer.openUnsized(field, SHORT);
  writer.text(1, contentType);
  if (storedBytes === undefined) writer.bytesIfAny(2, data);
  else {
    const reference = writer.openUnsized(3, SHORT);
    writer.bytes(1, data);
    writer.uint(2, storedBytes);
    writer.closeUnsized(reference, SHORT);
  }
  writer.closeUnsized(message, SHORT);
}

function writeUpstream(writer: WireWriter, name: string, payload: Payload): void {
  const upstream = writer.openUnsized(9, SHORT);
  writer.text(1, name);
  writePayload(writer, 2, payload);
  writer.closeUnsized(upstream, SHORT);
}

function writeTimeout(writer: WireWriter, timeoutMs: number): void {
  const seconds = Math.floor(timeoutMs / MS_PER_S);
  const timeout = writer.openUnsized(10, SHORT);
  writer.uint(1, seconds);
  writer.uint(2, Math.round((timeoutMs - seconds * MS_PER_S) * NANOS_PER_MS));
  writer.closeUnsized(timeout, SHORT);
}
