import { createManualClock, type Namespace, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { type TaskClaim, TaskFence, type TaskVerdict } from "./task-fence.ts";

const CLAIM: TaskClaim = {
  namespace: "default" as Namespace,
  principalId: "agent",
  taskId: "task_1",
  fence: 7n,
};
const HELD: TaskVerdict = { valid: true, reason: "", cacheForMs: 1000 };
const LOST: TaskVerdict = { valid: false, reason: "LEASE_LOST", cacheForMs: 1000 };

/** A fence before an orchestrator that says what the test tells it to. */
function createFence(first: TaskVerdict) {
  const clock = createManualClock();
  const asked: TaskClaim[] = [];
  const said = { verdict: first, away: false };
  const check = async (claim: TaskClaim) => {
    asked.push(claim);
    if (said.away) {
      throw new NexusError({ kind: "unavailable", reason: "LEASE_UNVERIFIED", message: "away" });
    }
    return said.verdict;
  };
  const fence = new TaskFence({ check }, clock);
  const reasonOf = async (claim = CLAIM) => {
    try {
      await fence.assertHolds(claim);
      return "ok";
    } catch (error) {
      return NexusError.from(error).reason;
    }
  };
  return { clock, asked, said, reasonOf };
}

describe("TaskFence", () => {
  it("believes an answer for as long as it may be kept, and no longer", async () => {
    const { clock, asked, said, reasonOf } = createFence(HELD);
    expect(await reasonOf()).toBe("ok");
    said.verdict = LOST;
    clock.advance(999);
    expect(await reasonOf()).toBe("ok");
    clock.advance(1);
    expect(await reasonOf()).toBe("LEASE_LOST");
    expect(asked).toEqual([CLAIM, CLAIM]);
  });

  it("keeps nothing that may not be kept, and no failure to ask", async () => {
    const { asked, said, reasonOf } = createFence({ ...HELD, cacheForMs: 0 });
    expect(await reasonOf()).toBe("ok");
    said.away = true;
    expect(await reasonOf()).toBe("LEASE_UNVERIFIED");
    said.away = false;
    said.verdict = LOST;
    expect(await reasonOf()).toBe("LEASE_LOST");
    expect(asked.length).toBe(3);
  });

  it("asks once for all that make the same claim at once, and apart for every other", async () => {
    const { asked, reasonOf } = createFence(HELD);
    const others = [
      { ...CLAIM, fence: 8n },
      { ...CLAIM, taskId: "task_2" },
      { ...CLAIM, principalId: "other" },
      { ...CLAIM, namespace: "team" as Namespace },
    ];
    await Promise.all([CLAIM, CLAIM, CLAIM, ...others].map((claim) => reasonOf(claim)));
    expect(asked).toEqual([CLAIM, ...others]);
  });
});
