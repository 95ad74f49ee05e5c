import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { withTransaction } from "@nexus/postgres";
import { expect, it } from "vitest";
import { openDatabase } from "./_database.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (how?: { readonly type: "minor" }) => void;

const TRANSACTIONS = 1_000;
const COLLECT_EVERY = 25;
/** A tenth of what one holds while it runs. */
const KEPT_BYTES_MAX = 1_000;
const NUMBERS = { name: "numbers", text: "SELECT t FROM generate_series(1, 5) AS t" };

function oldBytes(): number {
  const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => name === "old_space");
  return spaces.reduce((sum, { space_used_size: bytes }) => sum + bytes, 0);
}

it("leaves nothing of transactions that are over to a collection of the whole heap", async () => {
  const { pool, close } = await openDatabase({ max: 1 });
  const runMany = async (): Promise<void> => {
    for (let i = 0; i < TRANSACTIONS; i += 1) {
      await withTransaction(pool, (tx) => tx.commitWith(tx.query(NUMBERS), tx.query(NUMBERS)));
      if (i % COLLECT_EVERY === 0) collect({ type: "minor" });
    }
  };
  // Its connection has to be old, as it is in a service.
  await runMany();
  collect();
  const before = oldBytes();
  await runMany();
  const kept = oldBytes() - before;
  await close();
  expect(kept / TRANSACTIONS).toBeLessThan(KEPT_BYTES_MAX);
});
