/** A scheduler for unit tests, over a fleet and a queue of their own. */
import type { Claim, LiveTask } from "../domain/live-task.ts";
import { AffinityBook } from "./affinity-book.ts";
import type { AgentEntry } from "./agent-entry.ts";
import { fakeFleet } from "./engine.fake.ts";
import type { EngineParts } from "./parts.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { Scheduler } from "./scheduler.ts";

/** A scheduler whose claims are kept and never committed, unless the test frees them. */
export function setUp() {
  const fleet = fakeFleet();
  const queue = new ReadyQueue();
  const claims: { claim: Claim; agent: AgentEntry }[] = [];
  let inFlight = 0;
  let nowMs = 0;
  const scheduler = new Scheduler({
    parts: {
      fleet,
      queue,
      affinity: new AffinityBook(),
      routing: { bulkhead: 20, explorationShare: 0, random: () => 0.5 },
      nowMs: () => nowMs,
    } as unknown as EngineParts,
    claim: (claim, agent) => claims.push({ claim, agent }),
    onTurn: () => undefined,
    claimsInFlight: () => inFlight,
  });
  scheduler.resume();
  return {
    fleet,
    queue,
    scheduler,
    claims,
    add(task: LiveTask) {
      scheduler.wakeLane(queue.add(task, nowMs));
    },
    setInFlight(count: number) {
      inFlight = count;
    },
    setNow(ms: number) {
      nowMs = ms;
    },
    given: () => claims.map(({ claim }) => `${claim.task.key}>${claim.agentId}`),
  };
}

/** Lets the scheduler have its turns. */
export async function turns(count = 3): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
