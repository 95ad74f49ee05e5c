/** Calls of StateService that go through an agent's session: there they share frames with everything else, and cost a fraction. */
import type { StateOpResult, StateService } from "@nexus/proto/mesh";
import type { RpcClient } from "@nexus/rpc/client";
import { NexusError, sleep } from "@nexus/shared";
import type { StateOpInit } from "../agent/outbox.ts";
import { KEY_OVERHEAD_BYTES, type WriteInit, writeBytes } from "./state-values.ts";

type StateClient = RpcClient<typeof StateService>;

/** What is called, and with what. */
export type SessionCall = NonNullable<StateOpInit["call"]>;
/** An answer. */
export type SessionAnswer = StateOpResult["result"];

/** The way through the session. */
export interface SessionCalls {
  /** Resolves with the answer; with undefined when there is no stream or no room for the call, or when the stream broke before the
   * answer came; with the error when the router asks for a call instead. Then the same request goes as a call of its own, and its
   * request id sees to it that it counts once.
   *
   * Errors: those of the call. */
  tryCall(
    call: SessionCall,
    bytes: number,
    timeoutMs: number,
  ): Promise<SessionAnswer | NexusError | undefined>;
}

/** With less time left, what the router said is worth more than a DEADLINE_EXCEEDED. */
const CALL_TIME_MIN_MS = 50;

/** Has reads and writes go through the session where they can; everything else, and what finds no room, is a call of its own. */
export function throughSession(
  client: StateClient,
  session: SessionCalls,
  timeoutMs: number,
): StateClient {
  const tryCall = async (call: SessionCall, bytes: number) => {
    const untilMs = performance.now() + timeoutMs;
    const answer = await session.tryCall(call, bytes, timeoutMs).catch(toOwnCall);
    if (!(answer instanceof NexusError)) return { answer, left: leftOf(untilMs) };
    const waitMs = answer.details.retryAfterMs ?? 0;
    if (leftOf(untilMs).timeoutMs < waitMs + CALL_TIME_MIN_MS) throw answer;
    if (waitMs > 0) await sleep(waitMs);
    return { answer: undefined, left: leftOf(untilMs) };
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
      const bytes = writesBytes(request.writes) + keysBytes(request.preconditions?.map(keyOf));
      const { answer, left } = await tryCall(call, bytes);
      return answer?.case === "transacted" ? answer.value : client.transact(request, left);
    },
  };
}

/** What the session's token does not hold, a newer one may: a call of its own gets one. */
function toOwnCall(error: unknown): undefined {
  if (NexusError.is(error, "forbidden", "SCOPE_MISSING")) return undefined;
  throw error;
}

function leftOf(untilMs: number): { readonly timeoutMs: number } {
  return { timeoutMs: Math.max(1, untilMs - performance.now()) };
}

function keysBytes(keys: readonly string[] = []): number {
  return keys.reduce((sum, key) => sum + KEY_OVERHEAD_BYTES + key.length, 0);
}

function keyOf({ key = "" }: { readonly key?: string }): string {
  return key;
}

function writesBytes(writes: readonly WriteInit[] = []): number {
  return writes.reduce((sum, write) => sum + writeBytes(write), 0);
}
