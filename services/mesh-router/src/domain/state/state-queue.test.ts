import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { KeyMemory } from "./key-memory.ts";
import { SCANS_AT_ONCE } from "./state-limits.ts";
import type { FoundKeys, ReadStore } from "./state-ports.ts";
import { StateQueue, type StateQueueInit } from "./state-queue.ts";

const FOUND: FoundKeys = { rules: undefined, entries: [], unreadKeys: [] };

describe("StateQueue", () => {
  it("leaves out a read that nobody waits for any more when it is its turn", async () => {
    const asked: string[] = [];
    const reads = {
      readMany: async ({ bucket }: { bucket: string }) => {
        asked.push(bucket);
        return FOUND;
      },
    } as unknown as ReadStore;
    const queue = new StateQueue({
      reads,
      memory: new KeyMemory(),
      clock: createManualClock(),
    } as unknown as StateQueueInit);
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const before = Array.from({ length: SCANS_AT_ONCE }, () => queue.scan(() => held));
    let isGivenUp = false;
    const keys = { namespace: "n", keys: ["k"], includeDeleted: false };
    const left = queue.readMany({ ...keys, bucket: "left" }, () => isGivenUp);
    const kept = queue.readMany({ ...keys, bucket: "kept" }, () => false);
    isGivenUp = true;
    release();
    await Promise.all(before);
    await expect(left).rejects.toMatchObject({ kind: "cancelled" });
    expect([await kept, asked]).toEqual([FOUND, ["kept"]]);
  });
});
