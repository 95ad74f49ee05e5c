/** Checks TaskUpdate in place and reads the fields that the router has to know. */

import { FIXED64, LENGTH, WireError, type WireReader } from "@nexus/rpc";
import type { CarriedUpdate, UpdateKind } from "../../domain/message/carried.ts";
import {
  checkPayload,
  checkText,
  data,
  expectId,
  expectType,
  fields,
  id,
  positive,
} from "./checks.ts";

const TASK_ID_MAX = 64;
const PROGRESS_TEXT_MAX = 1_024;
const CHUNK_MAX = 65_536;
const FAILURE_TEXT_MAX = 4_096;
const RELEASE_TEXT_MAX = 1_024;
const REASON_BYTES_MAX = 128;
const REASON_PATTERN = /^[A-Z][A-Z0-9_]{0,127}$/;

/** What an update says, and how the message that says it is checked. */
type Kind = readonly [UpdateKind, (reader: WireReader) => void];

/** By the field numbers of TaskUpdate's oneof. */
const KINDS: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [3, ["accepted", (reader) => fields(reader, (inner) => inner.skip())]],
  [4, ["progress", (reader) => fields(reader, readProgress)]],
  [5, ["chunk", checkChunk]],
  [6, ["completed", (reader) => fields(reader, readCompleted)]],
  [7, ["failed", checkFailed]],
  [8, ["released", (reader) => fields(reader, readReleased)]],
]);

/** Reads one TaskUpdate; the reader stands on its field. */
export function readTaskUpdate(reader: WireReader): CarriedUpdate {
  expectType(reader, LENGTH);
  const outer = reader.enter();
  const bytes = reader.message();
  let taskId = "";
  let fence = 0n;
  let kind: UpdateKind | undefined;
  while (reader.next()) {
    if (reader.field === 1) taskId = id(reader, "task_id", TASK_ID_MAX);
    else if (reader.field === 2) fence = positive(reader, "fence");
    else kind = readKind(reader) ?? kind;
  }
  reader.leave(outer);
  expectId(taskId, "task_id");
  if (fence === 0n) throw new WireError("fence must be greater than 0");
  if (kind === undefined) throw new WireError("update must say something");
  return { taskId, fence, kind, bytes };
}

function readKind(reader: WireReader): UpdateKind | undefined {
  const known = KINDS.get(reader.field);
  if (known === undefined) {
    reader.skip();
    return undefined;
  }
  const [kind, check] = known;
  check(reader);
  return kind;
}

function readProgress(reader: WireReader): void {
  if (reader.field === 1) {
    expectType(reader, FIXED64);
    const progress = reader.double();
    if (!(progress >= 0 && progress <= 1)) throw new WireError("progress must be 0 to 1");
  } else if (reader.field === 2) checkText(reader, "progress.message", PROGRESS_TEXT_MAX);
  else reader.skip();
}

function checkChunk(reader: WireReader): void {
  let sequence = 0n;
  fields(reader, (inner) => {
    if (inner.field === 1) sequence = positive(inner, "chunk.sequence");
    else if (inner.field === 2) data(inner, "chunk.data", CHUNK_MAX);
    else inner.skip();
  });
  if (sequence === 0n) throw new WireError("chunk.sequence must be greater than 0");
}

function readCompleted(reader: WireReader): void {
  if (reader.field === 1) checkPayload(reader);
  else reader.skip();
}

function checkFailed(reader: WireReader): void {
  let reason = "";
  fields(reader, (inner) => {
    if (inner.field === 1) reason = id(inner, "failed.reason", REASON_BYTES_MAX);
    else if (inner.field === 2) checkText(inner, "failed.message", FAILURE_TEXT_MAX);
    else inner.skip();
  });
  if (REASON_PATTERN.test(reason)) return;
  throw new WireError("failed.reason must be an UPPER_SNAKE word");
}

function readReleased(reader: WireReader): void {
  if (reader.field === 1) checkText(reader, "released.message", RELEASE_TEXT_MAX);
  else reader.skip();
}
