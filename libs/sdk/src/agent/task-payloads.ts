/** The bodies of a task that are too large for its assignment, and of an output that is too large for its frame. */
import type { Assignment } from "@nexus/proto/mesh";
import { PayloadService } from "@nexus/proto/orchestrator";
import { createRpcClient, type RpcChannel, type TokenSource } from "@nexus/rpc/client";
import { NexusError } from "@nexus/shared";
import { encodePayload, PAYLOAD_BYTES_MAX, type PayloadInit, StoredPayload } from "../payload.ts";
import { fetchPayload, uploadPayload } from "../stored-payload.ts";
import { TaskError } from "./task-error.ts";

/** Moves bodies between a task and the payload store. */
export interface TaskPayloads {
  /** Returns the assignment with the bodies that its input and upstream outputs refer to. Errors: TaskError INPUT_NOT_STORED. */
  fetch(assignment: Assignment, signal: AbortSignal): Promise<Assignment>;
  /** Stores the body of an output that is too large for a message. */
  store(output: PayloadInit, signal: AbortSignal): Promise<StoredPayload>;
}

/** Creates what moves bodies through the gateway, as the agent. */
export function createTaskPayloads(channel: RpcChannel, tokens: TokenSource): TaskPayloads {
  const client = createRpcClient(PayloadService, channel, {
    tokens,
    attemptsMax: Number.POSITIVE_INFINITY,
  });
  return {
    fetch: async (assignment, signal) => {
      try {
        const { input } = assignment;
        const upstream: Assignment["upstream"] = {};
        // One after the other: they may be large.
        for (const [name, payload] of Object.entries(assignment.upstream)) {
          upstream[name] = await fetchPayload(client, payload, { signal });
        }
        const fetched = input === undefined ? input : await fetchPayload(client, input, { signal });
        return { ...assignment, input: fetched, upstream };
      } catch (error) {
        if (!NexusError.is(error, "not_found")) throw error;
        const { message } = error;
        throw new TaskError({ reason: "INPUT_NOT_STORED", message, retryable: false });
      }
    },
    store: async ({ contentType, data }, signal) =>
      new StoredPayload(contentType, await uploadPayload(client, data, { signal })),
  };
}

/** Says whether an assignment refers to bodies that are stored apart; nearly none does. */
export function hasReferences({ input, upstream }: Assignment): boolean {
  if (input?.reference !== undefined) return true;
  for (const name in upstream) if (upstream[name]?.reference !== undefined) return true;
  return false;
}

/** Turns what a handler returned into a payload; only a large one has to be stored first. */
export function toOutput(
  output: unknown,
  payloads: Pick<TaskPayloads, "store">,
  lease: { readonly signal: AbortSignal },
): PayloadInit | StoredPayload | Promise<StoredPayload> {
  if (output instanceof StoredPayload) return output;
  const payload = encodePayload(output);
  if (payload.data.byteLength <= PAYLOAD_BYTES_MAX) return payload;
  return payloads.store(payload, lease.signal);
}
