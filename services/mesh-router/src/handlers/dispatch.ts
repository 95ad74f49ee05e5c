import type { CallContext, RawRelay, WireWriter } from "@nexus/rpc";
import { type Clock, NexusError, withDeadline } from "@nexus/shared";
import type { DispatchHub } from "../domain/dispatch/dispatch-hub.ts";
import type { DispatchLink } from "../domain/dispatch/dispatch-link.ts";
import { HELLO_TIMEOUT_MS } from "../domain/limits.ts";
import { frameInvalid } from "../domain/mesh-errors.ts";
import { FrameStream, followCall } from "./frame-stream.ts";
import { framesOf, nextFrame } from "./read-frame.ts";
import type { TurnScheduler } from "./turn-scheduler.ts";
import { type OrchestratorFrame, readOrchestratorFrame } from "./wire/dispatch-frame.ts";
import { writeOrchestratorFrame } from "./wire/orchestrator-response.ts";

/** What Dispatch needs. */
export interface DispatchDeps {
  readonly hub: DispatchHub;
  readonly turns: TurnScheduler;
  readonly writer: WireWriter;
  readonly clock: Clock;
  readonly routerId: string;
  /** A frame left for an orchestrator. */
  readonly frameSent: () => void;
}

type Frames = AsyncIterator<Buffer>;

/** Serves DispatchService.Dispatch: the snapshot of sessions, then work both ways, as bytes. */
export function createDispatch(deps: DispatchDeps): RawRelay {
  return (call) => dispatch(deps, framesOf(call), call.ctx);
}

async function* dispatch(
  deps: DispatchDeps,
  frames: Frames,
  ctx: CallContext,
): AsyncGenerator<Buffer> {
  let link: DispatchLink | undefined;
  const detach = (): void => {
    if (link !== undefined) deps.hub.detach(link);
  };
  const stream = new FrameStream<Buffer>(deps.turns, detach);
  const unfollow = followCall(ctx.signal, stream);
  try {
    const first = await readFirst(frames);
    link = deps.hub.attach(first.orchestratorId, stream);
    const attached = link;
    let routerId = deps.routerId;
    applyFrame(deps, attached, first);
    void readFrames(deps, { frames, link: attached, stream });
    for (;;) {
      const frame = await stream.next(() => takeFrame(deps, attached, routerId));
      if (frame === undefined || attached.over) return;
      routerId = "";
      deps.frameSent();
      yield frame;
    }
  } finally {
    unfollow();
    detach();
  }
}

async function readFirst(frames: Frames): Promise<OrchestratorFrame> {
  const frame = await withDeadline(nextFrame(frames, readOrchestratorFrame), HELLO_TIMEOUT_MS);
  if (frame !== undefined && frame.orchestratorId !== "") return frame;
  throw frameInvalid("The first frame must name the orchestrator.");
}

interface Reading {
  readonly frames: Frames;
  readonly link: DispatchLink;
  readonly stream: FrameStream<Buffer>;
}

/** Reads until the orchestrator ends its half or breaks a rule. Never rejects. */
async function readFrames(deps: DispatchDeps, { frames, link, stream }: Reading): Promise<void> {
  try {
    while (!stream.ending) {
      const frame = await nextFrame(frames, readOrchestratorFrame);
      if (frame === undefined) break;
      applyFrame(deps, link, frame);
    }
    stream.finish();
  } catch (error) {
    stream.fail(NexusError.from(error));
  }
}

function applyFrame(
  { hub, clock }: DispatchDeps,
  link: DispatchLink,
  frame: OrchestratorFrame,
): void {
  const nowMs = clock.nowMs();
  // What is in hand already is cancelled first: its slot may be the one that an assignment of this frame is meant for.
  const inHand = frame.cancels.filter(({ to, order }) => hub.holds(to, order));
  for (const { to, order } of inHand) hub.cancel(to, order);
  for (const { to, order } of frame.assignments) hub.assign(link, { to, assignment: order }, nowMs);
  const done = new Set(inHand);
  for (const cancel of frame.cancels) if (!done.has(cancel)) hub.cancel(cancel.to, cancel.order);
  for (const { to, result } of frame.results) hub.answer(to, result);
  for (const { to, demand } of frame.demands) hub.demand(link, to, demand);
}

function takeFrame(deps: DispatchDeps, link: DispatchLink, routerId: string): Buffer | undefined {
  const batch = link.take();
  return batch === undefined ? undefined : writeOrchestratorFrame(deps.writer, batch, routerId);
}
