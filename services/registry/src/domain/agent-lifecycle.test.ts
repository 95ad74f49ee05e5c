import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createAgentLifecycle, SWEEP_BATCH_MAX } from "./agent-lifecycle.ts";
import type { AgentStore, PresenceReport, PresenceStore } from "./ports.ts";
import { createFakeEvents } from "./registry-events.fake.ts";

const LOST_AFTER_MS = 15_000;

function setUp(expire: PresenceStore["expire"]) {
  const clock = createManualClock();
  const events = createFakeEvents();
  const reported: (readonly PresenceReport[])[] = [];
  let changes = 0;
  const lifecycle = createAgentLifecycle({
    presences: {
      expire,
      report: (_routerId, reports) => {
        reported.push(reports);
        return Promise.resolve({ unknown: 0, stale: 0, changed: 0, change: undefined });
      },
    },
    agents: {
      removeExpired: () => Promise.resolve({ keys: [], change: undefined }),
    } as unknown as AgentStore,
    clock,
    lostAfterMs: LOST_AFTER_MS,
    events,
    onChange: () => {
      changes += 1;
    },
  });
  return { clock, events, lifecycle, reported, changes: () => changes };
}

function keys(count: number) {
  return Array.from({ length: count }, (_, n) => ({ namespace: "default", agentId: `agent-${n}` }));
}

describe("AgentLifecycle", () => {
  it("finds nobody lost before it has listened for a whole period", async () => {
    const { clock, lifecycle, events } = setUp(() => Promise.resolve({ keys: keys(1), change: 1 }));
    clock.advance(LOST_AFTER_MS - 1);
    expect(await lifecycle.expirePresence()).toBe(0);
    clock.advance(1);
    expect(await lifecycle.expirePresence()).toBe(1);
    expect(events.told).toEqual([["agentLost", keys(1)[0]]]);
  });

  it("listens for another period after it could not reach the store", async () => {
    let broken = true;
    const { clock, lifecycle } = setUp(() =>
      broken
        ? Promise.reject(new Error("database away"))
        : Promise.resolve({ keys: keys(1), change: 1 }),
    );
    clock.advance(LOST_AFTER_MS);
    await expect(lifecycle.expirePresence()).rejects.toThrow("database away");
    broken = false;
    expect(await lifecycle.expirePresence()).toBe(0);
    clock.advance(LOST_AFTER_MS);
    expect(await lifecycle.expirePresence()).toBe(1);
  });

  it("sweeps batch by batch until one is not full", async () => {
    const sizes = [SWEEP_BATCH_MAX, SWEEP_BATCH_MAX, 3, 99];
    const { clock, lifecycle, changes } = setUp(() =>
      Promise.resolve({ keys: keys(sizes.shift() ?? 0), change: 1 }),
    );
    clock.advance(LOST_AFTER_MS);
    expect(await lifecycle.expirePresence()).toBe(2 * SWEEP_BATCH_MAX + 3);
    expect(changes()).toBe(3);
  });

  it("keeps the highest epoch, and of that the last report, of each agent", async () => {
    const { lifecycle, reported } = setUp(() => Promise.resolve({ keys: [], change: undefined }));
    const report = (epoch: bigint, busySlots: number, agentId = "a"): PresenceReport => ({
      namespace: "default",
      agentId,
      epoch,
      state: "ONLINE",
      slots: 4,
      busySlots,
    });
    await lifecycle.reportPresence("router-1", [
      report(2n, 1),
      report(1n, 2),
      report(2n, 3),
      report(1n, 4, "b"),
    ]);
    expect(reported).toEqual([[report(2n, 3), report(1n, 4, "b")]]);
  });
});
