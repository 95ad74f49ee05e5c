import type { EventEmitter } from "node:events";
import type { Http2Session } from "node:http2";
import { Metadata, type sendUnaryData, status } from "@grpc/grpc-js";
import { INTERNAL_ERROR_MESSAGE, type Logger, NexusError } from "@nexus/shared";
import { AGED_ENDS_MIN, AGED_SWEEPS, FLOW_WINDOW_BYTES } from "../limits.ts";
import { CallState } from "./call-state.ts";
import type { ServerCall } from "./interceptor.ts";
import type { MethodPlan } from "./method-plan.ts";
import { type GrpcServerCall, ServerTransport } from "./transport.ts";

/** Turns each call of the transport into one run of the onion, and knows which calls are open. */
export interface Dispatcher {
  /** The function grpc-js calls for a method of any kind. */
  accept(plan: MethodPlan): (call: GrpcServerCall, callback?: sendUnaryData<Buffer>) => void;
  /** Refuses calls from now on and tells open streams to end; unary calls may finish. */
  drain(lingerMs: number): void;
  /** Ends every call that is still open. */
  endAll(): void;
  /** Tells streams on connections that have said goodbye to end; of many, a share at a time, so that not all who held them come back at once. */
  endAged(lingerMs: number): void;
  readonly openCalls: number;
}

/** Sent only when even mapping an error failed. */
const LAST_RESORT = {
  code: status.INTERNAL,
  details: INTERNAL_ERROR_MESSAGE,
  metadata: new Metadata(),
} as const;

/** Creates the dispatcher of one server. */
export function createDispatcher(
  service: string,
  logger: Logger,
  run: (call: ServerCall) => Promise<void>,
): Dispatcher {
  const open = new Set<ServerCall>();
  /** Of each aged connection: how many of its streams end at once. */
  const shares = new WeakMap<Http2Session, number>();
  let draining = false;

  async function serve(call: ServerCall): Promise<void> {
    open.add(call);
    if (draining) call.state.end(drainingError());
    try {
      await run(call);
    } catch (error) {
      // error-map settles every failure; reaching this line is a defect of the onion itself.
      logger.error({ err: error, method: call.plan.path }, "call escaped the error map");
      call.transport.fail(LAST_RESORT, error);
    } finally {
      open.delete(call);
    }
  }

  return {
    accept: (plan) => (grpcCall, callback) => {
      const transport = new ServerTransport(grpcCall, plan.responseStream ? undefined : callback);
      widenWindow(transport.session);
      const state = new CallState({
        service,
        plan,
        metadata: grpcCall.metadata,
        deadlineAtMs: toEpochMs(grpcCall.getDeadline()),
        peer: grpcCall.getPeer(),
        logger,
      });
      (grpcCall as EventEmitter).once("cancelled", () => {
        if (transport.over) return;
        const error = clientLeft();
        transport.stop(error);
        state.end(error);
      });
      void serve({ state, plan, transport, request: undefined });
    },
    drain(lingerMs) {
      draining = true;
      for (const call of open) if (isStream(call)) call.state.end(drainingError(), lingerMs);
    },
    endAll() {
      for (const { state } of open) state.end(drainingError());
    },
    endAged(lingerMs) {
      for (const [session, calls] of groupAged(open)) {
        const share = shares.get(session) ?? Math.ceil(calls.length / AGED_SWEEPS);
        shares.set(session, share);
        const due = calls.slice(0, Math.max(share, AGED_ENDS_MIN));
        for (const { state } of due) state.end(agedError(), lingerMs);
      }
    },
    get openCalls() {
      return open.size;
    },
  };
}

/** Connections whose own window is as wide as their streams'. */
const widened = new WeakSet<Http2Session>();

/** The window of a connection is no setting: it is widened once it is there. */
function widenWindow(session: Http2Session | undefined): void {
  if (session === undefined || widened.has(session) || session.destroyed) return;
  widened.add(session);
  session.setLocalWindowSize(FLOW_WINDOW_BYTES);
}

/** Streams that nobody has told to end, by connection, of those that have said goodbye. */
function groupAged(open: ReadonlySet<ServerCall>): Map<Http2Session, ServerCall[]> {
  const aged = new Map<Http2Session, ServerCall[]>();
  for (const call of open) {
    const { session, isConnectionClosing } = call.transport;
    if (session === undefined || !isConnectionClosing) continue;
    if (!isStream(call) || call.state.endError !== undefined) continue;
    const calls = aged.get(session) ?? [];
    calls.push(call);
    aged.set(session, calls);
  }
  return aged;
}

function isStream({ plan }: ServerCall): boolean {
  return plan.requestStream || plan.responseStream;
}

function toEpochMs(deadline: Date | number): number | undefined {
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(atMs) ? atMs : undefined;
}

function clientLeft(): NexusError {
  return new NexusError({ kind: "cancelled", reason: "CANCELLED", message: "The client left." });
}

function agedError(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "CONNECTION_AGED",
    message: "The connection has reached its age limit; call again.",
  });
}

function drainingError(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "SERVER_DRAINING",
    message: "The server is shutting down; connect again.",
  });
}
