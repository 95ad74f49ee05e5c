/** What became of a message, as the error that its sender sees. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { DeliveryOutcome, type SendOutcome } from "@nexus/proto/mesh";
import { NexusError } from "@nexus/shared";

const RETRY_DEFAULT_MS = 1_000;
/** Reasons of refusals that are about the lease that the message was sent under. */
const LEASE_REASONS = new Set(["LEASE_LOST", "NOT_HOLDER", "TASK_NOT_FOUND"]);

/** Makes the error for a message that did not get through. */
export function outcomeError(outcome: SendOutcome): NexusError {
  const text = outcome.message;
  switch (outcome.outcome) {
    case DeliveryOutcome.OVERLOADED:
      return retryLater(outcome, "AGENT_OVERLOADED", text || "The receiver's queue is full.");
    case DeliveryOutcome.BREAKER_OPEN:
      return retryLater(outcome, "AGENT_SILENT", text || "The receiver does not acknowledge.");
    case DeliveryOutcome.EXPIRED:
      return messageError(
        "deadline",
        "MESSAGE_EXPIRED",
        text || "The receiver did not take it in time.",
      );
    case DeliveryOutcome.NO_SUCH_AGENT:
      return messageError(
        "not_found",
        "AGENT_NOT_CONNECTED",
        text || "No such agent has a session.",
      );
    case DeliveryOutcome.LOOP:
    case DeliveryOutcome.HOP_LIMIT:
      return messageError("precondition", "MESSAGE_LOOP", text || "Messages cause each other.");
    case DeliveryOutcome.CANCELLED:
      return messageError("cancelled", "CANCELLED", text || "The message was taken back.");
    default:
      return refusal(outcome);
  }
}

function refusal({ reason, message, failureReason }: SendOutcome): NexusError {
  const text = message || "The router refused the message.";
  if (LEASE_REASONS.has(reason)) return messageError("conflict", "LEASE_LOST", text);
  if (reason === "PARTS_NOT_TAKEN") return messageError("precondition", "REPLY_IN_PARTS", text);
  if (reason === "HANDLER_FAILED") {
    const details = failureReason === "" ? {} : { metadata: { failure_reason: failureReason } };
    const kind = "precondition";
    return new NexusError({ kind, reason: "HANDLER_FAILED", message: text, details });
  }
  if (reason === "NO_HANDLER") return messageError("not_found", "NO_HANDLER", text);
  if (reason === "REPLY_CUT") return messageError("unavailable", "REPLY_CUT", text);
  if (reason === "LEASE_UNCHECKED") return messageError("unavailable", "UNAVAILABLE", text);
  return messageError("invalid", "MESSAGE_REFUSED", reason === "" ? text : `${text} (${reason})`);
}

function retryLater({ retryAfter }: SendOutcome, reason: string, message: string): NexusError {
  const retryAfterMs = retryAfter === undefined ? RETRY_DEFAULT_MS : durationMs(retryAfter);
  const kind = reason === "AGENT_SILENT" ? "unavailable" : "exhausted";
  return new NexusError({ kind, reason, message, details: { retryAfterMs } });
}

/** Makes an error. */
export function messageError(
  kind: NexusError["kind"],
  reason: string,
  message: string,
): NexusError {
  return new NexusError({ kind, reason, message });
}
