import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  type Hello,
} from "@nexus/proto/mesh";
import { type CallContext, type Principal, requirePrincipal } from "@nexus/rpc";
import { NexusError, withDeadline } from "@nexus/shared";
import { HELLO_TIMEOUT_MS } from "../domain/limits.ts";
import { agentIdMismatch, frameInvalid } from "../domain/mesh-errors.ts";
import type { Session } from "../domain/session.ts";
import type { BreakCause, HelloRequest } from "../domain/session-lifecycle.ts";
import type { Opened, SessionOpener } from "../domain/session-opener.ts";
import { toConnectResponse } from "./convert.ts";
import { FrameStream, followCall } from "./frame-stream.ts";
import { applyFrame, type FrameDeps } from "./session-frames.ts";
import type { TurnScheduler } from "./turn-scheduler.ts";

/** What Connect needs. */
export interface ConnectDeps extends FrameDeps {
  readonly opener: SessionOpener;
  readonly turns: TurnScheduler;
  readonly lostAfterMs: number;
  readonly serverVersion: string;
  /** A frame left for an agent. */
  readonly frameSent: () => void;
}

type Frames = AsyncIterator<ConnectRequest>;

/** Serves AgentSessionService.Connect: hello, welcome, then frames both ways until one side ends it. */
export function createConnect(deps: ConnectDeps) {
  return (requests: AsyncIterable<ConnectRequest>, ctx: CallContext) =>
    connect(deps, requests[Symbol.asyncIterator](), ctx);
}

async function* connect(
  deps: ConnectDeps,
  frames: Frames,
  ctx: CallContext,
): AsyncGenerator<ConnectResponse> {
  let opened: Opened | undefined;
  const detach = (): void => {
    if (opened === undefined) return;
    deps.lifecycle.detach(opened.session, stream, breakCause(ctx, opened.session));
  };
  const stream = new FrameStream<ConnectResponse>(deps.turns, detach);
  const unfollow = followCall(ctx.signal, stream);
  try {
    const hello = await readHello(frames, requirePrincipal(ctx));
    opened = await deps.opener.open(hello, stream);
    const { session } = opened;
    yield welcomeFrame(deps, opened);
    void readFrames(deps, { frames, session, stream, ctx });
    for (;;) {
      const frame = await stream.next(() => takeFrame(deps, session));
      if (frame === undefined) return;
      yield frame;
    }
  } finally {
    unfollow();
    detach();
  }
}

async function readHello(frames: Frames, principal: Principal): Promise<HelloRequest> {
  const step = await withDeadline(nextFrame(frames), HELLO_TIMEOUT_MS);
  const hello = step.done === true ? undefined : onlyHello(step.value);
  if (hello === undefined) throw frameInvalid("The first frame must be a hello and nothing else.");
  const { agentId, slots, messageCredit, resumeToken } = hello;
  if (principal.kind !== "agent" || principal.principalId !== agentId) throw agentIdMismatch();
  return { namespace: principal.namespace, agentId, slots, messageCredit, resumeToken };
}

function onlyHello(frame: ConnectRequest): Hello | undefined {
  const { heartbeat, credit, reauth, goodbye } = frame;
  const others = [heartbeat, credit, reauth, goodbye].filter((item) => item !== undefined).length;
  const items = frame.taskUpdates.length + frame.sends.length + frame.acks.length;
  return others + items === 0 ? frame.hello : undefined;
}

/** Whatever the contract finds wrong with a frame has one name here. */
async function nextFrame(frames: Frames): Promise<IteratorResult<ConnectRequest>> {
  try {
    return await frames.next();
  } catch (error) {
    if (!NexusError.is(error, "invalid")) throw error;
    throw frameInvalid(error.message, error.details.fieldViolations);
  }
}

interface Reading {
  readonly frames: Frames;
  readonly session: Session;
  readonly stream: FrameStream<ConnectResponse>;
  readonly ctx: CallContext;
}

/** Reads until the agent ends its half, says goodbye, or breaks a rule. Never rejects. */
async function readFrames(deps: ConnectDeps, reading: Reading): Promise<void> {
  const { frames, session, stream, ctx } = reading;
  try {
    while (!stream.ending) {
      const step = await nextFrame(frames);
      if (session.stream !== stream) return;
      if (step.done === true) break;
      await applyFrame(deps, session, step.value, ctx);
    }
    stream.finish();
  } catch (error) {
    stream.fail(NexusError.from(error));
  }
}

function takeFrame(deps: ConnectDeps, session: Session): ConnectResponse | undefined {
  const batch = session.outbox.take();
  if (batch === undefined) return undefined;
  const nowMs = deps.clock.nowMs();
  session.readAtMs = nowMs;
  const frame = toConnectResponse(batch, nowMs);
  deps.engine.written(session, batch.deliveries);
  deps.frameSent();
  return frame;
}

function welcomeFrame(
  deps: ConnectDeps,
  { session, resumed, resumeToken }: Opened,
): ConnectResponse {
  return create(ConnectResponseSchema, {
    welcome: {
      sessionId: session.sessionId,
      epoch: session.epoch,
      resumed,
      resumeToken,
      heartbeatInterval: durationFromMs(deps.heartbeatIntervalMs),
      lostAfter: durationFromMs(deps.lostAfterMs),
      serverVersion: deps.serverVersion,
    },
  });
}

/** A revoked token ends the session with its stream; every other broken stream may come back. */
function breakCause(ctx: CallContext, session: Session): BreakCause {
  if (session.overflowed) return "too_slow";
  const reason: unknown = ctx.signal.reason;
  return NexusError.is(reason, "unauthenticated", "TOKEN_REVOKED") ? "revoked" : "broken";
}
