/** Senders, receivers, routers, Redis and Postgres killed at random while durable messages go between replicas. */
import { setTimeout as wait } from "node:timers/promises";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshBed, RECEIVERS, REPLICAS, SENDERS } from "./_mesh-bed.ts";
import { createRandom } from "./_random.ts";

const SEED = 1;
const ROUNDS = 2;
const CALM_MIN_MS = 100;
const CALM_MAX_MS = 600;
const DOWN_MAX_MS = 400;
const STORED_MIN = 500;
const LIVENESS_MS = 60_000;

let bed: MeshBed;

beforeAll(async () => {
  bed = await MeshBed.open();
}, 120_000);
afterAll(() => bed[Symbol.asyncDispose](), 60_000);

const PAIRS = SENDERS.flatMap((from) => RECEIVERS.map((to) => [from, to] as const));

function countStored(): number {
  return PAIRS.reduce((sum, [from, to]) => sum + bed.storedOf(from, to).length, 0);
}

/** One of each kind in an order that the seed decides. */
async function playFaults(): Promise<string[]> {
  const random = createRandom(SEED);
  const said: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const kinds = ["sender", "receiver", "replica", "redis", "postgres"];
    while (kinds.length > 0) {
      const [kind = ""] = kinds.splice(random.between(0, kinds.length - 1), 1);
      await wait(random.between(CALM_MIN_MS, CALM_MAX_MS));
      const downMs = random.between(0, DOWN_MAX_MS);
      const before = countStored();
      if (kind === "redis" || kind === "postgres") {
        await bed[kind].kill();
        await wait(downMs);
        await bed[kind].restart();
      } else if (kind === "replica") {
        const name = random.pick(REPLICAS);
        await bed.kill(name);
        await wait(downMs);
        await bed.startReplica(name);
      } else {
        const name = random.pick(kind === "sender" ? SENDERS : RECEIVERS);
        await bed.kill(name);
        await wait(downMs);
        await bed.startAgain(name);
      }
      await waitFor(() => countStored() > before, {
        what: `a message to be stored after the ${kind} was killed`,
        timeoutMs: LIVENESS_MS,
      });
      said.push(`${kind}: ${countStored()} stored`);
    }
  }
  return said;
}

describe("durable messages under kills of everything", () => {
  it("come through when they were acknowledged, each pair's in order", async () => {
    const said = await playFaults();
    for (const name of SENDERS) await bed.kill(name);
    const isThere = ([from, to]: (typeof PAIRS)[number]): boolean => {
      const got = new Set(bed.gotOf(from, to));
      return bed.storedOf(from, to).every((number) => got.has(number));
    };
    await waitFor(() => PAIRS.every(isThere), {
      what: `every acknowledged message after ${said.join(", ")}`,
      timeoutMs: LIVENESS_MS,
    });
    await waitFor(
      async () => {
        const { rows } = await bed.tables.query<{ left: number }>(
          "SELECT count(*)::int AS left FROM mail",
        );
        return rows[0]?.left === 0;
      },
      { what: "every message to be acknowledged by its receiver", timeoutMs: LIVENESS_MS },
    );
    const { rows } = await bed.tables.query<{ dead: number }>(
      "SELECT count(*)::int AS dead FROM dead_messages",
    );
    expect(rows[0]?.dead).toBe(0);
    for (const [from, to] of PAIRS) {
      const got = bed.gotOf(from, to);
      // The last one may have been stored without its sender having heard of it.
      expect(got, `${from} to ${to}`).toEqual(Array.from(got, (_, index) => index));
      expect(got.length).toBeGreaterThanOrEqual(bed.storedOf(from, to).length);
      expect(got.length).toBeGreaterThan(0);
    }
    expect(countStored(), said.join(", ")).toBeGreaterThanOrEqual(STORED_MIN);
  });
});
