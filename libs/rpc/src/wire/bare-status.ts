import type { ErrorKind } from "@nexus/shared";

/** What a status without details is told as. */
export interface BareStatus {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly message: string;
}

/** Kinds that the transport itself reports. Its text names addresses and library internals, which must not travel on
 * to the next caller, so it becomes a fixed one and stays behind as the error's cause. */
const FROM_TRANSPORT: Partial<Record<ErrorKind, BareStatus>> = {
  unavailable: {
    kind: "unavailable",
    reason: "UNAVAILABLE",
    message: "The service cannot be reached.",
  },
  deadline: {
    kind: "deadline",
    reason: "DEADLINE_EXCEEDED",
    message: "The deadline of the call passed before its answer came.",
  },
  cancelled: { kind: "cancelled", reason: "CANCELLED", message: "The call was cancelled." },
  internal: { kind: "internal", reason: "INTERNAL", message: "The call failed unexpectedly." },
};

/** What grpc-js says of streams that a dying server resets (subchannel-call): INTERNAL, or CANCELLED without us having
 * cancelled. The server is gone; whoever may repeat the call should. */
const BROKEN_OFF =
  /^Received RST_STREAM with code [02]\b|^Call cancelled$|^No status information|^Write (error|failed)/;

/** Error of a call whose connection broke. */
const BROKEN: BareStatus = {
  kind: "unavailable",
  reason: "UNAVAILABLE",
  message: "The connection to the service broke.",
};

/** Words of grpc-js for any message, or header block, over a limit (stream-decoder, server-interceptors,
 * subchannel-call). */
const TOO_LARGE = /larger than|Bandwidth exhausted/;

/** The words of grpc-js end with the limit, where they name it. */
const LIMIT = /(\d+)\)?$/;

/** Says that a message is too large, and for which limit if the transport's words name it. */
export function tooLargeMessage(text: string): string {
  const limit = LIMIT.exec(text)?.[1];
  return `A message is larger than the limit${limit === undefined ? "" : ` of ${limit} bytes`}.`;
}

/** Says what a status means that came without details: from the transport, or from a server that is not ours. */
export function readBareStatus(kind: ErrorKind, text: string): BareStatus {
  if ((kind === "internal" || kind === "cancelled") && BROKEN_OFF.test(text)) return BROKEN;
  if (kind === "exhausted" && TOO_LARGE.test(text)) {
    return { kind, reason: "MESSAGE_TOO_LARGE", message: tooLargeMessage(text) };
  }
  const known = FROM_TRANSPORT[kind];
  if (known !== undefined) return known;
  const reason = kind === "unimplemented" ? "METHOD_NOT_FOUND" : kind.toUpperCase();
  return { kind, reason, message: text === "" ? `The call failed: ${kind}.` : text };
}
