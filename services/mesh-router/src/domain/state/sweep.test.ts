import { describe, expect, it } from "vitest";
import { CALL_TOO_LARGE } from "./refusals.ts";
import { FakeBucket, putOp } from "./state.fake.ts";
import { SWEEP_BATCH, SWEEP_ROUNDS_MAX } from "./state-limits.ts";
import type { StateEvents } from "./state-ports.ts";
import { createKeySweep, type DueKey, type SweepDeps } from "./sweep.ts";
import type { CallResult, WriteCall } from "./write.ts";

function dueKey(bucket: string, at: number): DueKey {
  const key = `k${String(at).padStart(6, "0")}`;
  return { namespace: "default", bucket, key, deleted: false, dueAt: "x", bucketId: "1" };
}

function setUp(due: readonly DueKey[], write: (call: WriteCall) => Promise<CallResult>) {
  const failed: unknown[] = [];
  const swept: Record<string, number> = {};
  const events = {
    stateSweepFailed: (error: unknown) => failed.push(error),
    stateSwept: (kind: string, count: number) => {
      swept[kind] = (swept[kind] ?? 0) + count;
    },
  } as unknown as StateEvents;
  const nothing = async (): Promise<never> => {
    throw new Error("not for keys");
  };
  const store: SweepDeps["store"] = {
    due: async (after, limit) => {
      const from = after === undefined ? 0 : due.findIndex(({ key }) => key === after.key) + 1;
      return due.slice(from, from + limit);
    },
    trim: nothing,
    drop: nothing,
  };
  const step = createKeySweep({ store, queue: { write }, events });
  return { failed, swept, step: () => step(new AbortController().signal) };
}

const done = ({ ops }: WriteCall): CallResult => ({
  kind: "done",
  rules: { bucketId: 1n, policy: "lww" },
  results: ops.map(() => ({
    status: "applied",
    revision: 0n,
    context: undefined,
    sum: 0n,
    versions: 0,
  })),
});

describe("the sweep of keys", () => {
  it("passes over what it cannot end, says so, and ends the rest", async () => {
    const stuck = Array.from({ length: SWEEP_BATCH }, (_, at) => dueKey("stuck", at));
    const held = Array.from({ length: SWEEP_BATCH }, (_, at) => dueKey("held", SWEEP_BATCH + at));
    const rest = [dueKey("rest", 2 * SWEEP_BATCH)];
    const { failed, swept, step } = setUp([...stuck, ...held, ...rest], async (call) => {
      if (call.bucket === "held") throw new Error("held");
      if (call.bucket === "rest") return done(call);
      return { kind: "refused", refusal: CALL_TOO_LARGE };
    });
    await step();
    expect(swept).toEqual({ expired: 1 });
    expect(failed).toMatchObject([{ reason: "STATE_CALL_TOO_LARGE" }, { message: "held" }]);
  });

  it("goes on behind what one step can look at, and then begins anew", async () => {
    const asked: string[] = [];
    const many = Array.from({ length: SWEEP_ROUNDS_MAX * SWEEP_BATCH + 1 }, (_, at) =>
      dueKey("b", at),
    );
    const { step } = setUp(many, async (call) => {
      asked.push(call.ops[0]?.key ?? "");
      return done(call);
    });
    for (let round = 0; round < 3; round += 1) await step();
    const looked = SWEEP_ROUNDS_MAX + 1;
    expect(new Set(asked).size).toBe(looked);
    expect(asked.slice(looked)).toEqual(asked.slice(0, SWEEP_ROUNDS_MAX));
  });

  it("ends keys whose versions were not read", () => {
    const fake = new FakeBucket("vector");
    fake.commit([putOp("k", "large", { ttlMs: 1 })]);
    const entry = fake.entries.get("k");
    if (entry === undefined) throw new Error("no entry");
    fake.entries.set("k", { ...entry, partial: true });
    fake.nowMs += 10;
    expect(fake.canCommit([{ kind: "expire", key: "k" }])).toBe(true);
    expect(fake.canCommit([putOp("k", "more")])).toBe(false);
    fake.commit([{ kind: "expire", key: "k" }]);
    expect(fake.bucket).toMatchObject({ keys: 0, tombstones: 1 });
  });
});
