import { create } from "@bufbuild/protobuf";
import {
  type DispatchRequest,
  type DispatchResponse,
  DispatchResponseSchema,
} from "@nexus/proto/mesh";
import type { CallContext } from "@nexus/rpc";
import { type Clock, NexusError, withDeadline } from "@nexus/shared";
import type { DispatchHub } from "../domain/dispatch-hub.ts";
import type { DispatchLink, OrchestratorBatch } from "../domain/dispatch-link.ts";
import { HELLO_TIMEOUT_MS } from "../domain/limits.ts";
import { frameInvalid } from "../domain/mesh-errors.ts";
import {
  assignmentBytes,
  toRefusal,
  toRoutedUpdate,
  toSessionName,
  toSessionStatus,
} from "./convert.ts";
import { FrameStream, followCall } from "./frame-stream.ts";
import type { TurnScheduler } from "./turn-scheduler.ts";

/** What Dispatch needs. */
export interface DispatchDeps {
  readonly hub: DispatchHub;
  readonly turns: TurnScheduler;
  readonly clock: Clock;
  readonly routerId: string;
  /** A frame left for an orchestrator. */
  readonly frameSent: () => void;
}

type Frames = AsyncIterator<DispatchRequest>;

/** Serves DispatchService.Dispatch: the snapshot of sessions, then work both ways. */
export function createDispatch(deps: DispatchDeps) {
  return (requests: AsyncIterable<DispatchRequest>, ctx: CallContext) =>
    dispatch(deps, requests[Symbol.asyncIterator](), ctx);
}

async function* dispatch(
  deps: DispatchDeps,
  frames: Frames,
  ctx: CallContext,
): AsyncGenerator<DispatchResponse> {
  let link: DispatchLink | undefined;
  const detach = (): void => {
    if (link !== undefined) deps.hub.detach(link);
  };
  const stream = new FrameStream<DispatchResponse>(deps.turns, detach);
  const unfollow = followCall(ctx.signal, stream);
  try {
    const first = await readFirst(frames);
    link = deps.hub.attach(first.orchestratorId, stream);
    const attached = link;
    let routerId = deps.routerId;
    applyFrame(deps, attached, first);
    void readFrames(deps, { frames, link: attached, stream });
    for (;;) {
      const batch = await stream.next(() => takeFrame(attached, routerId));
      if (batch === undefined || attached.over) return;
      routerId = "";
      deps.frameSent();
      yield batch;
    }
  } finally {
    unfollow();
    detach();
  }
}

async function readFirst(frames: Frames): Promise<DispatchRequest> {
  const step = await withDeadline(nextFrame(frames), HELLO_TIMEOUT_MS);
  if (step.done !== true && step.value.orchestratorId !== "") return step.value;
  throw frameInvalid("The first frame must name the orchestrator.");
}

async function nextFrame(frames: Frames): Promise<IteratorResult<DispatchRequest>> {
  try {
    return await frames.next();
  } catch (error) {
    if (!NexusError.is(error, "invalid")) throw error;
    throw frameInvalid(error.message, error.details.fieldViolations);
  }
}

interface Reading {
  readonly frames: Frames;
  readonly link: DispatchLink;
  readonly stream: FrameStream<DispatchResponse>;
}

/** Reads until the orchestrator ends its half or breaks a rule. Never rejects. */
async function readFrames(deps: DispatchDeps, { frames, link, stream }: Reading): Promise<void> {
  try {
    while (!stream.ending) {
      const step = await nextFrame(frames);
      if (step.done === true) break;
      applyFrame(deps, link, step.value);
    }
    stream.finish();
  } catch (error) {
    stream.fail(NexusError.from(error));
  }
}

function applyFrame(
  { hub, clock }: DispatchDeps,
  link: DispatchLink,
  frame: DispatchRequest,
): void {
  const nowMs = clock.nowMs();
  for (const { session, assignment } of frame.assignments) {
    if (assignment === undefined) continue;
    const sizeBytes = assignmentBytes(assignment);
    hub.assign(link, { to: toSessionName(session), assignment, sizeBytes }, nowMs);
  }
  for (const { session, cancel } of frame.cancels) {
    if (cancel !== undefined) hub.cancel(toSessionName(session), cancel);
  }
  for (const { session, result } of frame.updateResults) {
    if (result !== undefined) hub.answer(toSessionName(session), result);
  }
}

function takeFrame(link: DispatchLink, routerId: string): DispatchResponse | undefined {
  const batch = link.take();
  return batch === undefined ? undefined : toDispatchResponse(batch, routerId);
}

function toDispatchResponse(batch: OrchestratorBatch, routerId: string): DispatchResponse {
  const frame = create(DispatchResponseSchema);
  frame.routerId = routerId;
  frame.snapshotComplete = batch.snapshotComplete;
  for (const session of batch.sessions) frame.sessions.push(toSessionStatus(session));
  for (const update of batch.updates) frame.updates.push(toRoutedUpdate(update));
  for (const refusal of batch.refusals) frame.refusals.push(toRefusal(refusal));
  return frame;
}
