import type { Pool } from "@nexus/postgres";
import { createSilentLogger } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { Ledger } from "./ledger.ts";
import { RingKeeper } from "./ring-keeper.ts";

const LEASE_MS = 1_000;

/** A keeper whose database answers at once, or not at all. */
function setUp() {
  const state = { nowMs: 0, silent: false };
  const query = () =>
    state.silent ? new Promise(() => undefined) : Promise.resolve({ rows: [], rowCount: 1 });
  const ledger = { ownership: "owner", shards: new Map(), take: () => Promise.resolve(0) };
  const keeper = new RingKeeper({
    pool: { query } as unknown as Pool,
    ledger: ledger as unknown as Ledger,
    replicaId: "a",
    leaseMs: LEASE_MS,
    untilWritten: () => Promise.resolve(),
    nowMs: () => state.nowMs,
    logger: createSilentLogger(),
  });
  return { keeper, state };
}

describe("a keeper", () => {
  it("is cut off once its lease has passed without a renewal, until the next one", async () => {
    const { keeper, state } = setUp();
    expect(keeper.isCutOff).toBe(false);
    await keeper.renew();
    state.silent = true;
    state.nowMs += LEASE_MS;
    void keeper.renew();
    expect(keeper.isCutOff).toBe(false);
    state.nowMs += 1;
    expect(keeper.isCutOff).toBe(true);
    state.silent = false;
    await keeper.renew();
    expect(keeper.isCutOff).toBe(false);
  });
});
