/** Why writes are refused, in the words of the contract. */
import { NexusError, type NexusErrorInit } from "@nexus/shared";
import { ENTRY_BYTES_MAX, SIBLINGS_MAX, STORED_BYTES_MAX } from "./state-limits.ts";
import type { Refusal } from "./write.ts";

/** The operation, or a field of it, is not one of the bucket's policy. */
export function policyMismatch(message: string): Refusal {
  return { kind: "precondition", reason: "STATE_POLICY_MISMATCH", message };
}

/** A CAS bucket was to be changed without a word on what is there. */
export const REVISION_REQUIRED: Refusal = {
  kind: "precondition",
  reason: "STATE_REVISION_REQUIRED",
  message: "A CAS bucket is changed with expected_revision only; 0 for a key without a value.",
};

/** Somebody else was faster. */
export function revisionMismatch(key: string, expected: bigint, found: bigint): Refusal {
  return {
    kind: "conflict",
    reason: "STATE_REVISION_MISMATCH",
    message: `The revision of ${key} is ${found}, not ${expected}; read it again.`,
  };
}

/** Who deletes must say what it had seen. */
export const CONTEXT_REQUIRED: Refusal = {
  kind: "precondition",
  reason: "STATE_CONTEXT_REQUIRED",
  message: "A VECTOR bucket deletes what the caller had seen; pass the context of the entry.",
};

/** The context is damaged, or another key's. */
export const CONTEXT_INVALID: Refusal = {
  kind: "invalid",
  reason: "STATE_CONTEXT_INVALID",
  message: "The context was not given out for this key of this bucket.",
};

/** The value lies elsewhere. */
export const VALUE_REFERENCE: Refusal = {
  kind: "invalid",
  reason: "STATE_VALUE_REFERENCE",
  message: "A bucket keeps values itself: put the value, or the reference as a value of its own.",
};

/** Nobody resolves the key. */
export const SIBLING_LIMIT: Refusal = {
  kind: "exhausted",
  reason: "STATE_SIBLING_LIMIT",
  message: `A key has at most ${SIBLINGS_MAX} versions and ${ENTRY_BYTES_MAX} bytes; resolve it first.`,
};

/** Somebody else resolved first. */
export const VERSION_GONE: Refusal = {
  kind: "conflict",
  reason: "STATE_VERSION_GONE",
  message: "A version that was to be resolved is no longer there; read the key again.",
};

/** The writer's clock cannot be believed. */
export function timeInvalid(problem: string): Refusal {
  return { kind: "out_of_range", reason: "STATE_TIME_INVALID", message: `The time ${problem}.` };
}

/** 64 bits are not enough. */
export const COUNTER_RANGE: Refusal = {
  kind: "out_of_range",
  reason: "STATE_COUNTER_RANGE",
  message: "The counter would not fit into 64 bits.",
};

/** The value is larger than one may be here. */
export function valueTooLarge(bytes: number, bytesMax: number): Refusal {
  const message = `The value has ${bytes} bytes; the bucket takes ${bytesMax}.`;
  return { kind: "exhausted", reason: "STATE_VALUE_TOO_LARGE", message };
}

/** The bucket has as many keys as it may. */
export function keysQuota(keysMax: number, what: string): Refusal {
  const message = `The bucket holds its limit of ${keysMax} ${what}.`;
  return { kind: "exhausted", reason: "STATE_KEYS_QUOTA", message };
}

/** The bucket is full. */
export function bytesQuota(bytesMax: number): Refusal {
  const message = `The bucket would hold more than its limit of ${bytesMax} bytes.`;
  return { kind: "exhausted", reason: "STATE_BYTES_QUOTA", message };
}

/** A later attempt of the task has written the key. */
export const TASK_OVERTAKEN: Refusal = {
  kind: "conflict",
  reason: "LEASE_LOST",
  message: "A later attempt of the task has written this key.",
};

/** What the call is about cannot be held in memory at once. */
export const CALL_TOO_LARGE: Refusal = {
  kind: "exhausted",
  reason: "STATE_CALL_TOO_LARGE",
  message: `The keys of the call hold more than ${STORED_BYTES_MAX} bytes of versions; write fewer at once.`,
};

/** There is no such bucket. */
export function noBucket(name: string): Refusal {
  const message = `There is no bucket ${name}.`;
  return { kind: "not_found", reason: "STATE_BUCKET_NOT_FOUND", message };
}

/** The request id stands for another request. */
export const REQUEST_REUSED: Refusal = {
  kind: "conflict",
  reason: "REQUEST_ID_REUSED",
  message: "The request id was used before for another request of this bucket.",
};

/** The caller left before anything was written. */
export const GIVEN_UP: Refusal = {
  kind: "cancelled",
  reason: "CANCELLED",
  message: "The caller left before it was its turn.",
};

/** The error that a refusal is for a caller of one write. */
export function toError(refusal: Refusal, metadata?: Readonly<Record<string, string>>): NexusError {
  const init: NexusErrorInit =
    metadata === undefined ? refusal : { ...refusal, details: { metadata } };
  return new NexusError(init);
}
