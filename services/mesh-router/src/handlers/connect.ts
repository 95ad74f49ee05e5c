import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectResponseSchema, type Hello } from "@nexus/proto/mesh";
import {
  type CallContext,
  type Principal,
  type RawRelay,
  requirePrincipal,
  type WireWriter,
} from "@nexus/rpc";
import { NexusError, withDeadline } from "@nexus/shared";
import { HELLO_TIMEOUT_MS, PENDING_PER_SENDER_MAX, STATE_OPS_MAX } from "../domain/limits.ts";
import { agentIdMismatch, frameInvalid } from "../domain/mesh-errors.ts";
import type { Session } from "../domain/session/session.ts";
import type { BreakCause, HelloRequest } from "../domain/session/session-lifecycle.ts";
import type { Opened, SessionOpener } from "../domain/session/session-opener.ts";
import { AgentStream } from "./agent-stream.ts";
import { followCall } from "./frame-stream.ts";
import { framesOf, nextFrame } from "./read-frame.ts";
import { applyFrame, type FrameDeps, type FrameSource } from "./session-frames.ts";
import type { StateMethods } from "./state/state-methods.ts";
import { type AnswerBudget, StateOps, type StateOpsInit } from "./state/state-ops.ts";
import type { TurnScheduler } from "./turn-scheduler.ts";
import { type AgentFrame, readAgentFrame } from "./wire/agent-frame.ts";
import { writeAgentFrame } from "./wire/agent-response.ts";

/** What Connect needs. */
export interface ConnectDeps extends FrameDeps {
  readonly opener: SessionOpener;
  readonly turns: TurnScheduler;
  readonly writer: WireWriter;
  readonly stateMethods: StateMethods;
  readonly stateEvents: StateOpsInit["events"];
  readonly lostAfterMs: number;
  readonly serverVersion: string;
  /** A frame left for an agent. */
  readonly frameSent: () => void;
}

type Frames = AsyncIterator<Buffer>;

/** Field number of ConnectResponse. */
const STATE_RESULTS = 10;

/** Serves AgentSessionService.Connect: hello, welcome, then frames both ways until one side ends it.
 *
 * Works on bytes: an agent's frames are mostly carried on, and decoding what nobody here reads costs ten times
 * as much as carrying it. */
export function createConnect(deps: ConnectDeps): RawRelay {
  const answerBudget: AnswerBudget = { bytes: 0 };
  return (call) => connect({ ...deps, answerBudget }, framesOf(call), call.ctx);
}

async function* connect(
  deps: ConnectDeps & { readonly answerBudget: AnswerBudget },
  frames: Frames,
  ctx: CallContext,
): AsyncGenerator<Buffer> {
  let opened: Opened | undefined;
  const { stateMethods: methods, stateEvents: events, answerBudget: budget } = deps;
  const ops = new StateOps({ methods, events, budget, ctx, onAnswer: () => stream.wake() });
  const detach = (): void => {
    ops.end(streamOver());
    if (opened === undefined) return;
    deps.lifecycle.detach(opened.session, stream, breakCause(ctx, opened.session));
  };
  const { turns, lostAfterMs } = deps;
  const stream = new AgentStream({ turns, onFail: detach, ops, lostAfterMs });
  const unfollow = followCall(ctx.signal, stream);
  try {
    const hello = await readHello(frames, requirePrincipal(ctx), frameReader(deps));
    opened = await deps.opener.open(hello, stream);
    const { session } = opened;
    yield welcomeFrame(deps, opened);
    void readFrames(deps, { frames, session, stream, ops, ctx });
    for (;;) {
      const frame = await stream.next(() => takeFrame(deps, session, ops));
      if (frame === undefined) {
        // First, so that what is queued from now on is of the next stream.
        const complete = session.turnStream();
        detach();
        yield Buffer.from(
          toBinary(ConnectResponseSchema, create(ConnectResponseSchema, { complete })),
        );
        return;
      }
      yield frame;
      ops.frameLeft();
    }
  } finally {
    unfollow();
    stream.close();
    detach();
  }
}

async function readHello(
  frames: Frames,
  principal: Principal,
  read: (bytes: Buffer) => AgentFrame,
): Promise<HelloRequest> {
  const frame = await withDeadline(nextFrame(frames, read), HELLO_TIMEOUT_MS);
  const hello = frame === undefined ? undefined : onlyHello(frame);
  if (hello === undefined) throw frameInvalid("The first frame must be a hello and nothing else.");
  const { agentId, slots, messageCredit, resumeToken, complete } = hello;
  if (principal.kind !== "agent" || principal.principalId !== agentId) throw agentIdMismatch();
  const { namespace } = principal;
  return { namespace, agentId, slots, messageCredit, resumeToken, complete };
}

function frameReader({ clock, engine }: ConnectDeps): (bytes: Buffer) => AgentFrame {
  const nowMs = (): number => clock.nowMs();
  return (bytes) => {
    engine.frameRead(bytes);
    return readAgentFrame(bytes, nowMs);
  };
}

function onlyHello(frame: AgentFrame): Hello | undefined {
  const { heartbeat, credit, reauth, goodbye } = frame;
  const others = [heartbeat, credit, reauth, goodbye].filter((item) => item !== undefined).length;
  const lists = [frame.updates, frame.sends, frame.acks, frame.subscribes, frame.unsubscribes];
  const rest = frame.cancels.length + frame.stateOps.length + frame.stateCancels.length;
  const items = lists.reduce((sum, list) => sum + list.length, rest);
  return others + items === 0 ? frame.hello : undefined;
}

interface Reading extends FrameSource {
  readonly frames: Frames;
  readonly stream: AgentStream;
}

/** Reads until the agent ends its half, says goodbye, or breaks a rule. Never rejects. */
async function readFrames(deps: ConnectDeps, reading: Reading): Promise<void> {
  const { frames, session, stream } = reading;
  const read = frameReader(deps);
  try {
    // A drain that waits for operations hears their agent out: acks and completions come meanwhile.
    while (!stream.isOver && !session.over) {
      const frame = await nextFrame(frames, read);
      if (session.stream !== stream) return;
      if (frame === undefined) break;
      await applyFrame(deps, reading, frame);
    }
    stream.finish();
  } catch (error) {
    stream.fail(NexusError.from(error));
  }
}

function takeFrame(deps: ConnectDeps, session: Session, ops: StateOps): Buffer | undefined {
  const { writer } = deps;
  const batch = ops.isOverdue ? undefined : session.outbox.take();
  const nowMs = deps.clock.nowMs();
  if (batch !== undefined) writeAgentFrame(writer, batch, nowMs);
  for (const answer of ops.take(writer.size)) writer.bytes(STATE_RESULTS, answer);
  if (batch === undefined && writer.size === 0) return undefined;
  const frame = writer.take();
  session.readAtMs = nowMs;
  session.told();
  if (batch !== undefined) deps.engine.written(session, batch.deliveries, batch.leftOut);
  deps.frameSent();
  return frame;
}

function welcomeFrame(deps: ConnectDeps, opened: Opened): Buffer {
  const { session, resumed, held, continued, resumeToken } = opened;
  const frame = create(ConnectResponseSchema, {
    welcome: {
      sessionId: session.sessionId,
      epoch: session.epoch,
      resumed,
      resumeToken,
      heartbeatInterval: durationFromMs(deps.heartbeatIntervalMs),
      lostAfter: durationFromMs(deps.lostAfterMs),
      serverVersion: deps.serverVersion,
      sendCredit: PENDING_PER_SENDER_MAX,
      stateCredit: STATE_OPS_MAX,
      held,
      continued,
    },
  });
  return Buffer.from(toBinary(ConnectResponseSchema, frame));
}

/** A revoked token ends the session with its stream; every other broken stream may come back. */
function breakCause(ctx: CallContext, session: Session): BreakCause {
  if (session.overflowed) return "too_slow";
  const reason: unknown = ctx.signal.reason;
  return NexusError.is(reason, "unauthenticated", "TOKEN_REVOKED") ? "revoked" : "broken";
}

/** The caller sees the stream's own end. */
function streamOver(): NexusError {
  const message = "The stream of the operation is over.";
  return new NexusError({ kind: "cancelled", reason: "CANCELLED", message });
}
