/** Writes DispatchResponse: updates as they came with their session's reference, the rest by its type. */
import { create, toBinary } from "@bufbuild/protobuf";
import { DispatchResponseSchema, SessionRefSchema } from "@nexus/proto/mesh";
import { fieldSize, type WireWriter } from "@nexus/rpc";
import type { OrchestratorBatch, RoutedUpdate } from "../../domain/dispatch/dispatch-link.ts";
import type { SessionName } from "../../domain/message/carried.ts";
import type { Session } from "../../domain/session/session.ts";
import { toRefusal, toSessionStatus } from "../convert.ts";

/** Field number of DispatchResponse.updates, and those of RoutedUpdate. */
const UPDATES = 4;
const SESSION = 1;
const UPDATE = 2;

/** Writes a frame for an orchestrator. */
export function writeOrchestratorFrame(
  writer: WireWriter,
  batch: OrchestratorBatch,
  routerId: string,
): Buffer {
  const { sessions, refusals, snapshotComplete } = batch;
  if (routerId !== "" || snapshotComplete || sessions.length + refusals.length > 0) {
    const rest = create(DispatchResponseSchema, { routerId, snapshotComplete });
    for (const told of sessions) rest.sessions.push(toSessionStatus(told));
    for (const refusal of refusals) rest.refusals.push(toRefusal(refusal));
    writer.raw(toBinary(DispatchResponseSchema, rest));
  }
  for (const update of batch.updates) writeUpdate(writer, update);
  return writer.take();
}

function writeUpdate(writer: WireWriter, { session, update }: RoutedUpdate): void {
  const ref = encodedRef(session);
  writer.open(UPDATES, fieldSize(ref.length) + fieldSize(update.bytes.length));
  writer.bytes(SESSION, ref);
  writer.bytes(UPDATE, update.bytes);
}

/** One encoded reference serves every update of a session. */
const refs = new WeakMap<Session, Uint8Array>();

function encodedRef(session: Session): Uint8Array {
  const known = refs.get(session);
  if (known !== undefined) return known;
  const { namespace, agentId, epoch }: SessionName = session;
  const ref = toBinary(SessionRefSchema, create(SessionRefSchema, { namespace, agentId, epoch }));
  refs.set(session, ref);
  return ref;
}
