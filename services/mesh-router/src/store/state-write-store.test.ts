import type { Pool } from "@nexus/postgres";
import { NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { KeyMemory } from "../domain/state/key-memory.ts";
import type { WriteCall } from "../domain/state/write.ts";
import { createWriteStore } from "./state-write-store.ts";

/** A database whose transactions fail, one after the other, with these errors. */
function storeOf(errors: readonly NexusError[]) {
  let asked = 0;
  const connect = async (): Promise<never> => {
    asked += 1;
    throw errors[Math.min(asked, errors.length) - 1] as NexusError;
  };
  const pool = { connect } as unknown as Pool;
  const memory = new KeyMemory();
  const store = createWriteStore({
    pool,
    rememberedMs: 1_000,
    memory,
    onCommitted: () => undefined,
  });
  return { store, asked: () => asked };
}

function callOf(isGivenUp: boolean): WriteCall {
  return {
    namespace: "default",
    bucket: "b",
    name: { key: "1".padStart(32, "0"), bodyHash: 1n },
    writer: { principalId: "alice", taskId: "", fence: 0n, traceId: "" },
    preconditions: [],
    ops: [{ kind: "delete", key: "k" }],
    atomic: false,
    isGivenUp: () => isGivenUp,
  };
}

const AWAY = new NexusError({ kind: "unavailable", reason: "DATABASE_UNAVAILABLE", message: "x" });
const UNKNOWN = new NexusError({
  kind: "unavailable",
  reason: "COMMIT_OUTCOME_UNKNOWN",
  message: "x",
});
const HELD = new NexusError({ kind: "conflict", reason: "LOCK_NOT_AVAILABLE", message: "x" });

describe("commits of state", () => {
  it("are never called refused once one of them may have happened", async () => {
    for (const later of [[HELD], [AWAY], [AWAY, HELD]]) {
      const { store } = storeOf([UNKNOWN, ...later]);
      expect(await store.commit([callOf(false)])).toEqual([UNKNOWN]);
    }
    expect(await storeOf([AWAY, HELD]).store.commit([callOf(false)])).toEqual([HELD]);
  });

  it("wait for nothing on behalf of callers that have left", async () => {
    const { store, asked } = storeOf([HELD]);
    const results = await store.commit([callOf(true), callOf(true)]);
    expect(results).toMatchObject([{ kind: "refused" }, { kind: "refused" }]);
    expect(asked()).toBe(0);
  });
});
