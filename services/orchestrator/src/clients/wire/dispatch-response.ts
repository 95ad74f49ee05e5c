/** Reads DispatchResponse in place: updates by hand, as there are two for each task, the rest by its type. */
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { AssignmentRefusalSchema, SessionStatusSchema } from "@nexus/proto/mesh";
import { LENGTH, VARINT, WireError, WireReader } from "@nexus/rpc";
import { detachFromFrame } from "@nexus/shared";
import type {
  AgentSaying,
  AgentUpdate,
  Refusal,
  SessionRef,
  SessionReport,
} from "../../domain/ports.ts";
import type { Payload } from "../../domain/task.ts";
import { toOutput, toRefusal, toSessionReport } from "../mesh-convert.ts";

/** A frame from a router. */
export interface RouterFrame {
  readonly reports: SessionReport[];
  snapshotComplete: boolean;
  readonly updates: AgentUpdate[];
  readonly refusals: Refusal[];
}

/** Field numbers of DispatchResponse. */
const SESSIONS = 2;
const SNAPSHOT_COMPLETE = 3;
const UPDATES = 4;
const REFUSALS = 5;

/** Reads a frame. What a later version adds, and updates without an origin, are left out. Errors: WireError. */
export function readRouterFrame(bytes: Buffer, router: string): RouterFrame {
  const reader = new WireReader(bytes);
  const frame: RouterFrame = { reports: [], snapshotComplete: false, updates: [], refusals: [] };
  const refs = new RefMemory();
  while (reader.next()) {
    if (reader.field === UPDATES) {
      const update = readUpdate(reader, router, refs);
      if (update !== undefined) frame.updates.push(update);
    } else if (reader.field === SESSIONS) {
      const report = toSessionReport(parse(SessionStatusSchema, reader));
      if (report !== undefined) frame.reports.push(report);
    } else if (reader.field === REFUSALS) {
      const refusal = toRefusal(parse(AssignmentRefusalSchema, reader));
      if (refusal !== undefined) frame.refusals.push(refusal);
    } else if (reader.field === SNAPSHOT_COMPLETE) {
      expectType(reader, VARINT);
      frame.snapshotComplete = reader.bool();
    } else reader.skip();
  }
  return frame;
}

function parse<D extends DescMessage>(schema: D, reader: WireReader): MessageShape<D> {
  expectType(reader, LENGTH);
  return fromBinary(schema, reader.bytes(), { readUnknownFields: false });
}

/** The last session that was read: the updates of a frame come in runs of one session. */
class RefMemory {
  #bytes: Buffer | undefined;
  #ref: SessionRef | undefined;

  read(reader: WireReader): SessionRef {
    expectType(reader, LENGTH);
    if (this.#ref !== undefined && this.#bytes !== undefined && reader.passSame(this.#bytes)) {
      return this.#ref;
    }
    this.#bytes = reader.bytes();
    this.#ref = readRef(new WireReader(this.#bytes));
    return this.#ref;
  }
}

function readRef(reader: WireReader): SessionRef {
  let namespace = "";
  let agentId = "";
  let epoch = 0n;
  while (reader.next()) {
    if (reader.field === 1) namespace = text(reader);
    else if (reader.field === 2) agentId = text(reader);
    else if (reader.field === 3) epoch = int64(reader);
    else reader.skip();
  }
  return { namespace, agentId, epoch };
}

/** An update while it is read. */
type Draft = { -readonly [K in keyof AgentUpdate]: AgentUpdate[K] | undefined };

/** Into one object: what a task's end brings lives until it is stored. */
function readUpdate(reader: WireReader, router: string, refs: RefMemory): AgentUpdate | undefined {
  const update: Draft = { router, session: undefined, taskId: "", fence: 0n, saying: undefined };
  const outer = enter(reader);
  while (reader.next()) {
    if (reader.field === 1) update.session = refs.read(reader);
    else if (reader.field === 2) readWord(reader, update);
    else reader.skip();
  }
  reader.leave(outer);
  const { session, saying } = update;
  return session === undefined || saying === undefined ? undefined : (update as AgentUpdate);
}

function readWord(reader: WireReader, update: Draft): void {
  const outer = enter(reader);
  while (reader.next()) {
    if (reader.field === 1) update.taskId = text(reader);
    else if (reader.field === 2) update.fence = int64(reader);
    else update.saying = readSaying(reader) ?? update.saying;
  }
  reader.leave(outer);
}

function readSaying(reader: WireReader): AgentSaying | undefined {
  const read = SAYINGS.get(reader.field);
  if (read !== undefined) return read(reader);
  reader.skip();
  return undefined;
}

/** By the field numbers of TaskUpdate's oneof. */
const SAYINGS: ReadonlyMap<number, (reader: WireReader) => AgentSaying> = new Map([
  [3, readAccepted],
  [4, readProgress],
  [5, readChunk],
  [6, readCompleted],
  [7, readFailed],
  [8, readReleased],
]);

function readAccepted(reader: WireReader): AgentSaying {
  expectType(reader, LENGTH);
  reader.skip();
  return { kind: "ACCEPTED" };
}

function readProgress(reader: WireReader): AgentSaying {
  let progress = 0;
  let message = "";
  within(reader, () => {
    if (reader.field === 1) progress = reader.double();
    else if (reader.field === 2) message = text(reader);
    else reader.skip();
  });
  return { kind: "PROGRESS", progress, message };
}

function readChunk(reader: WireReader): AgentSaying {
  let sequence = 0n;
  let data: Uint8Array = NO_BYTES;
  within(reader, () => {
    if (reader.field === 1) sequence = int64(reader);
    else if (reader.field === 2) data = bytes(reader);
    else reader.skip();
  });
  return { kind: "CHUNK", sequence, data };
}

function readCompleted(reader: WireReader): AgentSaying {
  let output: Payload | undefined;
  const outer = enter(reader);
  while (reader.next()) {
    if (reader.field === 1) output = readPayload(reader);
    else reader.skip();
  }
  reader.leave(outer);
  return { kind: "COMPLETED", output: toOutput(output) };
}

function readPayload(reader: WireReader): Payload {
  let contentType = "";
  let data: Uint8Array = NO_BYTES;
  let reference: Pick<Payload, "data" | "storedBytes"> | undefined;
  const outer = enter(reader);
  while (reader.next()) {
    if (reader.field === 1) contentType = text(reader);
    else if (reader.field === 2) data = bytes(reader);
    else if (reader.field === 3) reference = readReference(reader);
    else reader.skip();
  }
  reader.leave(outer);
  return reference === undefined ? { contentType, data } : { contentType, ...reference };
}

/** What is no SHA-256 is found in no store, and its task is told so. */
function readReference(reader: WireReader): Pick<Payload, "data" | "storedBytes"> {
  let data: Uint8Array = NO_BYTES;
  let storedBytes = 0;
  within(reader, () => {
    if (reader.field === 1) data = bytes(reader);
    else if (reader.field === 2) storedBytes = Number(int64(reader));
    else reader.skip();
  });
  return { data, storedBytes };
}

function readFailed(reader: WireReader): AgentSaying {
  let reason = "";
  let message = "";
  let retryable = false;
  within(reader, () => {
    if (reader.field === 1) reason = text(reader);
    else if (reader.field === 2) message = text(reader);
    else if (reader.field === 3) {
      expectType(reader, VARINT);
      retryable = reader.bool();
    } else reader.skip();
  });
  return { kind: "FAILED", reason: reason || "AGENT_ERROR", message, retryable };
}

function readReleased(reader: WireReader): AgentSaying {
  let message = "";
  within(reader, () => {
    if (reader.field === 1) message = text(reader);
    else reader.skip();
  });
  return { kind: "RELEASED", message };
}

const NO_BYTES = new Uint8Array();

function expectType(reader: WireReader, type: number): void {
  if (reader.type !== type) throw new WireError(`field ${reader.field} has the wrong type`);
}

/** Goes through the fields of a message; `read` takes each value or skips it. */
function within(reader: WireReader, read: () => void): void {
  const outer = enter(reader);
  while (reader.next()) read();
  reader.leave(outer);
}

function enter(reader: WireReader): number {
  expectType(reader, LENGTH);
  return reader.enter();
}

/** Whatever an agent wrote: it must not end the stream of all. */
function text(reader: WireReader): string {
  expectType(reader, LENGTH);
  return reader.looseText();
}

/** What an agent put out may wait for the database, or for a watcher, and counts there with its own size. */
function bytes(reader: WireReader): Buffer {
  expectType(reader, LENGTH);
  return detachFromFrame(reader.bytes());
}

function int64(reader: WireReader): bigint {
  expectType(reader, VARINT);
  return reader.int64();
}
