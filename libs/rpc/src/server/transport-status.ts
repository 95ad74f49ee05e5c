import { type ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";
import { type Logger, NexusError } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import { tooLargeMessage } from "../wire/bare-status.ts";
import { fromWireStatus, STATUS_DETAILS_HEADER, toWireStatus } from "../wire/status.ts";

/** How grpc-js 1.14 words that a message is too large. */
const TOO_LARGE = /larger than|decompresses to a size/;

/** How it words the other refusals that it makes before a handler sees the call, and what they mean here. */
const REFUSALS: readonly {
  text: RegExp;
  kind: "invalid";
  reason: string;
  message: string;
}[] = [
  {
    text: /^Received (a second|no) request message|unsupported encoding|^Invalid grpc-timeout|decompress/,
    kind: "invalid",
    reason: "REQUEST_MALFORMED",
    message: "The request breaks the gRPC protocol.",
  },
];

/** A status as grpc-js hands it from layer to layer; the package does not export the type. */
type TransportStatus = Parameters<Parameters<ServerInterceptor>[1]["sendStatus"]>[0];

/** Gives statuses that the transport makes by itself (oversize, broken framing, deadline) the same rich details as
 * every other error, and counts them: such calls never reach the onion.
 *
 * grpc-js sends them through the call's own sendStatus, around interceptors, so that method is replaced on the
 * call itself. Statuses that already have details are ours and pass untouched. */
export function explainTransportStatus(
  service: string,
  logger: Logger,
  metrics: Metrics,
): ServerInterceptor {
  const refusals = metrics.counter({
    name: "rpc_transport_refusals_total",
    help: "Calls ended by the transport itself, by reason: oversize, broken framing, deadline.",
    labels: ["reason"],
  });
  return (method, call) => {
    const send = call.sendStatus.bind(call);
    call.sendStatus = (plain) => {
      if (plain.code === status.OK || hasDetails(plain)) return send(plain);
      const error = explain(plain);
      refusals.inc({ reason: error.reason });
      logger.info(
        { method: method.path, reason: error.reason, peer: call.getPeer() },
        "call refused",
      );
      return send(toWireStatus(error, service));
    };
    return call as ServerInterceptingCall;
  };
}

function hasDetails(plain: TransportStatus): boolean {
  return (plain.metadata?.get(STATUS_DETAILS_HEADER).length ?? 0) > 0;
}

function explain(plain: TransportStatus): NexusError {
  if (TOO_LARGE.test(plain.details)) {
    return new NexusError({
      kind: "exhausted",
      reason: "MESSAGE_TOO_LARGE",
      message: tooLargeMessage(plain.details),
    });
  }
  const refusal = REFUSALS.find(({ text }) => text.test(plain.details));
  if (refusal !== undefined) return new NexusError(refusal);
  return fromWireStatus({ code: plain.code, details: plain.details, metadata: undefined });
}
