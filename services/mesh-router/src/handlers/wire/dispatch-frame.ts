/** Reads DispatchRequest in place. Orchestrators are services of ours: what they send is read for its address and
 * its lease, and otherwise passed on as it came. */

import { VARINT, WireError, WireReader } from "@nexus/rpc";
import type {
  CarriedAssignment,
  CarriedOrder,
  Demand,
  SessionName,
} from "../../domain/message/carried.ts";
import { expectAtMost } from "./agent-frame.ts";
import { expectId, expectType, fields, id, message, positive } from "./checks.ts";

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

/** Reads a frame. Errors: WireError. */
export function readOrchestratorFrame(bytes: Buffer): OrchestratorFrame {
  const reader = new WireReader(bytes);
  const frame: OrchestratorFrame = {
    orchestratorId: "",
    assignments: [],
    cancels: [],
    results: [],
    demands: [],
  };
  while (reader.next()) readField(reader, frame);
  expectAtMost(frame.assignments, "assignments");
  expectAtMost(frame.cancels, "cancels");
  expectAtMost(frame.results, "update_results");
  expectAtMost(frame.demands, "demands");
  return frame;
}

function readField(reader: WireReader, frame: OrchestratorFrame): void {
  if (reader.field === 1) frame.orchestratorId = id(reader, "orchestrator_id", ID_MAX);
  else if (reader.field === 2) frame.assignments.push(readOrder(reader, ASSIGNMENT_FIELDS));
  else if (reader.field === 3) frame.cancels.push(readOrder(reader, CANCEL_FIELDS));
  else if (reader.field === 4) frame.results.push(readResult(reader));
  else if (reader.field === 5) frame.demands.push(readDemand(reader));
  else reader.skip();
}

function readOrder(reader: WireReader, lease: LeaseFields): AddressedAssignment {
  let to = NOBODY;
  let order: CarriedAssignment = { taskId: "", fence: 0n, slots: 1, bytes: NOTHING };
  fields(reader, (inner) => {
    if (inner.field === 1) to = readRef(inner);
    else if (inner.field === 2) order = readLease(inner, lease);
    else inner.skip();
  });
  return { to, order };
}

function readLease(reader: WireReader, lease: LeaseFields): CarriedAssignment {
  let taskId = "";
  let fence = 0n;
  let slots = 1;
  const bytes = message(reader, (inner) => {
    if (inner.field === 1) taskId = id(inner, "task_id", TASK_ID_MAX);
    else if (inner.field === lease.fence) fence = positive(inner, "fence");
    else if (inner.field === lease.slotCost) {
      expectType(inner, VARINT);
      slots = Math.max(1, Number(inner.int64()));
    } else inner.skip();
  });
  expectId(taskId, "task_id");
  expectSet(fence, "fence");
  return { taskId, fence, slots, bytes };
}

function readResult(reader: WireReader): AddressedResult {
  let to = NOBODY;
  let result: Uint8Array = NOTHING;
  fields(reader, (inner) => {
    if (inner.field === 1) to = readRef(inner);
    else if (inner.field === 2) result = message(inner, (field) => field.skip());
    else inner.skip();
  });
  return { to, result };
}

function readDemand(reader: WireReader): AddressedDemand {
  let to = NOBODY;
  let wanted = false;
  let held = 0;
  fields(reader, (inner) => {
    if (inner.field === 1) to = readRef(inner);
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

function readRef(reader: WireReader): SessionName {
  let namespace = "";
  let agentId = "";
  let epoch = 0n;
  fields(reader, (inner) => {
    if (inner.field === 1) namespace = id(inner, "namespace", NAMESPACE_MAX);
    else if (inner.field === 2) agentId = id(inner, "agent_id", ID_MAX);
    else if (inner.field === 3) epoch = positive(inner, "epoch");
    else inner.skip();
  });
  expectId(namespace, "namespace");
  expectId(agentId, "agent_id");
  expectSet(epoch, "epoch");
  return { namespace, agentId, epoch };
}

function expectSet(number: bigint, what: string): void {
  if (number === 0n) throw new WireError(`${what} must be greater than 0`);
}
