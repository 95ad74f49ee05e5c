/** Reads DispatchRequest in place. Orchestrators are services of ours: what they send is read for its address and
 * its lease, and otherwise passed on as it came. */

import { LENGTH, VARINT, WireError, WireReader } from "@nexus/rpc";
import type {
  CarriedAssignment,
  CarriedOrder,
  Demand,
  SessionName,
} from "../../domain/message/carried.ts";
import { expectAtMost } from "./agent-frame.ts";
import { expectId, expectType, fields, id, positive } from "./checks.ts";

/** An assignment with its address. */
export interface AddressedAssignment {
  readonly to: SessionName;
  readonly order: CarriedAssignment;
}

/** A cancel with its address. */
export interface AddressedCancel {
  readonly to: SessionName;
  readonly order: CarriedOrder;
}

/** A result with its address. */
export interface AddressedResult {
  readonly to: SessionName;
  /** The encoded TaskUpdateResult. */
  readonly result: Uint8Array;
}

/** A demand with its address. */
export interface AddressedDemand {
  readonly to: SessionName;
  readonly demand: Demand;
}

/** A frame from an orchestrator. */
export interface OrchestratorFrame {
  orchestratorId: string;
  readonly assignments: AddressedAssignment[];
  readonly cancels: AddressedCancel[];
  readonly results: AddressedResult[];
  readonly demands: AddressedDemand[];
}

const ID_MAX = 128;
const NAMESPACE_MAX = 64;
const TASK_ID_MAX = 64;
const NOBODY: SessionName = { namespace: "", agentId: "", epoch: 0n };
const NOTHING = Buffer.alloc(0);
/** Field numbers of what is read of Assignment, and of TaskCancel, which has no slots. */
const ASSIGNMENT_FIELDS = { fence: 4, slotCost: 16 };
const CANCEL_FIELDS = { fence: 2, slotCost: 0 };
type LeaseFields = typeof ASSIGNMENT_FIELDS;
/** Those of more agents are read anew each time. */
const SESSIONS_KNOWN_MAX = 8;

/** Reads a frame. Errors: WireError. */
export function readOrchestratorFrame(bytes: Buffer): OrchestratorFrame {
  const reader = new WireReader(bytes);
  const sessions = new SessionNames();
  const frame: OrchestratorFrame = {
    orchestratorId: "",
    assignments: [],
    cancels: [],
    results: [],
    demands: [],
  };
  while (reader.next()) readField(reader, frame, sessions);
  expectAtMost(frame.assignments, "assignments");
  expectAtMost(frame.cancels, "cancels");
  expectAtMost(frame.results, "update_results");
  expectAtMost(frame.demands, "demands");
  return frame;
}

function readField(reader: WireReader, frame: OrchestratorFrame, sessions: SessionNames): void {
  if (reader.field === 1) frame.orchestratorId = id(reader, "orchestrator_id", ID_MAX);
  else if (reader.field === 2) {
    frame.assignments.push(readOrder(reader, ASSIGNMENT_FIELDS, sessions));
  } else if (reader.field === 3) frame.cancels.push(readOrder(reader, CANCEL_FIELDS, sessions));
  else if (reader.field === 4) frame.results.push(readResult(reader, sessions));
  else if (reader.field === 5) frame.demands.push(readDemand(reader, sessions));
  else reader.skip();
}

// Loops of their own for each kind, and no functions that are made for an item: a frame has hundreds of them.

function readOrder(
  reader: WireReader,
  lease: LeaseFields,
  sessions: SessionNames,
): AddressedAssignment {
  let to = NOBODY;
  let order: CarriedAssignment | undefined;
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) to = sessions.read(reader);
    else if (reader.field === 2) order = readLease(reader, lease);
    else reader.skip();
  }
  reader.leave(outer);
  return { to, order: order ?? { taskId: "", fence: 0n, slots: 1, bytes: NOTHING } };
}

function readLease(reader: WireReader, lease: LeaseFields): CarriedAssignment {
  let taskId = "";
  let fence = 0n;
  let slots = 1;
  expectType(reader, LENGTH);
  const outer = reader.enter();
  const bytes = reader.message();
  while (reader.next()) {
    if (reader.field === 1) taskId = id(reader, "task_id", TASK_ID_MAX);
    else if (reader.field === lease.fence) fence = positive(reader, "fence");
    else if (reader.field === lease.slotCost) {
      expectType(reader, VARINT);
      slots = Math.max(1, Number(reader.int64()));
    } else reader.skip();
  }
  reader.leave(outer);
  expectId(taskId, "task_id");
  expectSet(fence, "fence");
  return { taskId, fence, slots, bytes };
}

function readResult(reader: WireReader, sessions: SessionNames): AddressedResult {
  let to = NOBODY;
  let result: Uint8Array = NOTHING;
  expectType(reader, LENGTH);
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 1) to = sessions.read(reader);
    else if (reader.field === 2) result = readWhole(reader);
    else reader.skip();
  }
  reader.leave(outer);
  return { to, result };
}

/** The bytes of a message of which nothing has to be known. */
function readWhole(reader: WireReader): Buffer {
  expectType(reader, LENGTH);
  const outer = reader.enter();
  const bytes = reader.message();
  while (reader.next()) reader.skip();
  reader.leave(outer);
  return bytes;
}

function readDemand(reader: WireReader, sessions: SessionNames): AddressedDemand {
  let to = NOBODY;
  let wanted = false;
  let held = 0;
  fields(reader, (inner) => {
    if (inner.field === 1) to = sessions.read(inner);
    else if (inner.field === 2) {
      expectType(inner, VARINT);
      wanted = inner.bool();
    } else if (inner.field === 3) {
      expectType(inner, VARINT);
      held = Number(BigInt.asIntN(32, inner.int64()));
    } else inner.skip();
  });
  if (held < 0) throw new WireError("held must be at least 0");
  return { to, demand: { wanted, held } };
}

/** The sessions that items of a frame were for, lately: its hundreds of items are for a few agents, and to read a session anew costs as much
 * as the rest of an item. */
class SessionNames {
  readonly #bytes: Buffer[] = [];
  readonly #names: SessionName[] = [];
  #oldest = 0;

  /** Reads a SessionRef; the reader stands on its field. */
  read(reader: WireReader): SessionName {
    expectType(reader, LENGTH);
    for (let at = 0; at < this.#bytes.length; at += 1) {
      if (reader.passSame(this.#bytes[at] as Buffer)) return this.#names[at] as SessionName;
    }
    const outer = reader.enter();
    this.#bytes[this.#oldest] = reader.message();
    const name = readName(reader);
    reader.leave(outer);
    this.#names[this.#oldest] = name;
    this.#oldest = (this.#oldest + 1) % SESSIONS_KNOWN_MAX;
    return name;
  }
}

function readName(reader: WireReader): SessionName {
  let namespace = "";
  let agentId = "";
  let epoch = 0n;
  while (reader.next()) {
    if (reader.field === 1) namespace = id(reader, "namespace", NAMESPACE_MAX);
    else if (reader.field === 2) agentId = id(reader, "agent_id", ID_MAX);
    else if (reader.field === 3) epoch = positive(reader, "epoch");
    else reader.skip();
  }
  expectId(namespace, "namespace");
  expectId(agentId, "agent_id");
  expectSet(epoch, "epoch");
  return { namespace, agentId, epoch };
}

function expectSet(number: bigint, what: string): void {
  if (number === 0n) throw new WireError(`${what} must be greater than 0`);
}
