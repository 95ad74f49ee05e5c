/** Calls of StateService that go through an agent's session: there they share frames with everything else, and cost a fraction. */
import type { StateOpResult, StateService } from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc/client";
import type { StateOpInit } from "../agent/outbox.ts";
import { valueBytes, type WriteInit } from "./state-values.ts";

type StateClient = RpcClient<typeof StateService>;

/** What is called, and with what. */
export type SessionCall = NonNullable<StateOpInit["call"]>;
/** An answer. */
export type SessionAnswer = StateOpResult["result"];

/** The way through the session. */
export interface SessionCalls {
  /** Resolves with the answer, or with undefined when there is no stream or no room for the call, when the stream broke before the
   * answer came, and when the answer is that it should be tried again: then the same request goes as a call of its own, and its
   * request id sees to it that it counts once.
   *
   * Errors: those of the call. */
  tryCall(call: SessionCall, bytes: number, timeoutMs: number): Promise<SessionAnswer | undefined>;
}

/** A key beside its field. */
const KEY_OVERHEAD_BYTES = 8;
/** What a write has beside key and value. */
const WRITE_OVERHEAD_BYTES = 64;

/** Has reads and writes go through the session where they can; everything else, and what finds no room, is a call of its own. */
export function throughSession(
  client: StateClient,
  session: SessionCalls,
  timeoutMs: number,
): StateClient {
  const tryCall = async (call: SessionCall, bytes: number) => {
    const untilMs = performance.now() + timeoutMs;
    const answer = await session.tryCall(call, bytes, timeoutMs);
    return { answer, left: { timeoutMs: Math.max(1, untilMs - performance.now()) } };
  };
  return {
    ...client,
    batchGetEntries: async (request) => {
      const { answer, left } = await tryCall(
        { case: "get", value: request },
        keysBytes(request.keys),
      );
      return answer?.case === "got" ? answer.value : client.batchGetEntries(request, left);
    },
    writeEntries: async (request) => {
      const call = { case: "write", value: request } as const;
      const { answer, left } = await tryCall(call, writesBytes(request.writes));
      return answer?.case === "written" ? answer.value : client.writeEntries(request, left);
    },
    transact: async (request) => {
      const call = { case: "transact", value: request } as const;
      const { answer, left } = await tryCall(call, writesBytes(request.writes));
      return answer?.case === "transacted" ? answer.value : client.transact(request, left);
    },
  };
}

function keysBytes(keys: readonly string[] = []): number {
  return keys.reduce((sum, key) => sum + KEY_OVERHEAD_BYTES + key.length, 0);
}

function writesBytes(writes: readonly WriteInit[] = []): number {
  return writes.reduce(
    (sum, write) => sum + WRITE_OVERHEAD_BYTES + (write.key?.length ?? 0) + valueBytes(write),
    0,
  );
}
