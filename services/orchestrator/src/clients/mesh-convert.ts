/** Mesh contracts to and from what the engine speaks. Total both ways. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AssignmentRefusal,
  type AssignmentSchema,
  type RoutedUpdate,
  SessionState,
  type SessionStatus,
  type TaskUpdate,
  type SessionRef as WireSessionRef,
} from "@nexus/proto/mesh";
import type {
  AgentSaying,
  AgentUpdate,
  Assignment,
  Refusal,
  SessionRef,
  SessionReport,
} from "../domain/ports.ts";
import { toStorableText } from "../domain/settlement.ts";
import type { Payload } from "../domain/task.ts";

const CONTENT_TYPE_MAX_CHARS = 128;
const DEFAULT_CONTENT_TYPE = "application/octet-stream";

const STATES: Readonly<Record<SessionState, SessionReport["state"] | undefined>> = {
  [SessionState.UNSPECIFIED]: undefined,
  [SessionState.CONNECTED]: "CONNECTED",
  [SessionState.DETACHED]: "DETACHED",
  [SessionState.DRAINING]: "DRAINING",
  [SessionState.CLOSED]: "CLOSED",
  [SessionState.LOST]: "LOST",
};

function toSessionRef(session: WireSessionRef): SessionRef {
  return { namespace: session.namespace, agentId: session.agentId, epoch: session.epoch };
}

/** Reads a session's status; undefined for one without a session or with a state of a later version. */
export function toSessionReport(status: SessionStatus): SessionReport | undefined {
  const state = STATES[status.state];
  if (status.session === undefined || state === undefined) return undefined;
  return { session: toSessionRef(status.session), state, slots: status.slots };
}

/** Reads a refusal. */
export function toRefusal(refusal: AssignmentRefusal): Refusal | undefined {
  if (refusal.session === undefined) return undefined;
  const { taskId, fence, reason } = refusal;
  return { session: toSessionRef(refusal.session), taskId, fence, reason };
}

/** Reads an update; undefined for one without origin or of a later version. */
export function toAgentUpdate(router: string, routed: RoutedUpdate): AgentUpdate | undefined {
  const { session, update } = routed;
  if (session === undefined || update === undefined) return undefined;
  const saying = toSaying(update);
  if (saying === undefined) return undefined;
  const { taskId, fence } = update;
  return { router, session: toSessionRef(session), taskId, fence, saying };
}

function toSaying({ update }: TaskUpdate): AgentSaying | undefined {
  switch (update.case) {
    case "accepted":
      return { kind: "ACCEPTED" };
    case "progress":
      return { kind: "PROGRESS", progress: update.value.progress, message: update.value.message };
    case "chunk":
      return { kind: "CHUNK", sequence: update.value.sequence, data: update.value.data };
    case "completed":
      return { kind: "COMPLETED", output: toOutput(update.value.output) };
    case "failed": {
      const { reason, message, retryable } = update.value;
      return { kind: "FAILED", reason: reason || "AGENT_ERROR", message, retryable };
    }
    case "released":
      return { kind: "RELEASED", message: update.value.message };
    case undefined:
      return undefined;
  }
}

/** What agents send is stored with that of others in one statement, so its text must be storable whatever it is. */
function toOutput(payload: Payload | undefined): Payload {
  const contentType = toStorableText(payload?.contentType ?? "").slice(0, CONTENT_TYPE_MAX_CHARS);
  return {
    contentType: contentType === "" ? DEFAULT_CONTENT_TYPE : contentType,
    data: payload?.data ?? new Uint8Array(),
  };
}

/** Writes an assignment. */
export function fromAssignment(assignment: Assignment): MessageInitShape<typeof AssignmentSchema> {
  const { input, upstream, timeoutMs, ...rest } = assignment;
  return {
    ...rest,
    ...(input === undefined ? {} : { input: fromPayload(input) }),
    upstream: Object.fromEntries([...upstream].map(([name, p]) => [name, fromPayload(p)])),
    timeout: durationFromMs(timeoutMs),
  };
}

function fromPayload({ contentType, data }: Payload) {
  // The driver gives Buffers, which the codec takes as they are.
  return { contentType, data: data as Uint8Array<ArrayBuffer> };
}

/** About how many bytes an assignment takes on the wire. */
export function sizeOfAssignment(assignment: Assignment): number {
  let bytes = 512 + (assignment.input?.data.byteLength ?? 0);
  for (const payload of assignment.upstream.values()) bytes += payload.data.byteLength + 64;
  return bytes;
}
