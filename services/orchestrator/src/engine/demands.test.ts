import { waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";
import type { AgentProfile } from "./agent-entry.ts";
import { Demands } from "./demands.ts";
import { addAgent, fakeFleet, fakeLease, fakeTask } from "./engine.fake.ts";
import { LeaseBook } from "./lease-book.ts";
import type { EngineParts } from "./parts.ts";
import { laneKey, needOf, ReadyQueue } from "./ready-queue.ts";

let demands: Demands | undefined;
afterEach(() => demands?.stop());

/** One agent with one slot, and one task that waits for it. */
function setUp() {
  const fleet = fakeFleet();
  const book = new LeaseBook();
  const queue = new ReadyQueue();
  const agent = addAgent(fleet, "a", { slots: 1 });
  agent.session = { epoch: 5n, state: "CONNECTED", slots: 1, router: "r" };
  const said: unknown[] = [];
  let replicas = 2;
  const dispatch = {
    demand(router: string, session: { readonly epoch: bigint }, demand: object) {
      said.push({ router, epoch: session.epoch, ...demand });
      return true;
    },
  };
  demands = new Demands({
    parts: { fleet, queue, dispatch, nowMs: () => 0 } as unknown as EngineParts,
    replicas: () => replicas,
  });
  const task = fakeTask();
  queue.add(task, 0);
  fleet.refresh(agent);
  return {
    agent,
    fleet,
    said,
    queue,
    task,
    demands,
    hold() {
      book.add(fakeLease(agent, 5n));
      fleet.refresh(agent);
    },
    scaleTo(count: number) {
      replicas = count;
    },
  };
}

describe("Demands", () => {
  it("asks for more of an agent that has all it was said to take while tasks wait, and takes it back", async () => {
    const t = setUp();
    t.hold();
    t.demands.look();
    await waitFor(() => t.said.length === 1, { what: "the demand" });
    expect(t.said).toEqual([{ router: "r", epoch: 5n, wanted: true, held: 1 }]);
    t.demands.look();
    t.queue.remove(t.task.taskId);
    await waitFor(() => t.said.length === 2, { what: "its end" });
    expect(t.said[1]).toEqual({ router: "r", epoch: 5n, wanted: false, held: 1 });
  });

  it("asks again when the router's stream began anew, and of a new session", async () => {
    const t = setUp();
    t.hold();
    t.demands.look();
    await waitFor(() => t.said.length === 1, { what: "the demand" });
    t.demands.forget("r");
    await waitFor(() => t.said.length === 2, { what: "the demand again" });
    t.agent.session = { epoch: 6n, state: "CONNECTED", slots: 1, router: "q" };
    t.demands.look();
    await waitFor(() => t.said.length === 3, { what: "the demand at the new session" });
    expect(t.said[2]).toMatchObject({ router: "q", epoch: 6n, wanted: true });
  });

  it("asks nothing while the agent has room, nor when this replica is alone", async () => {
    const t = setUp();
    t.demands.look();
    t.hold();
    t.scaleTo(1);
    t.demands.look();
    t.scaleTo(2);
    // The look of above is over, and found room or nobody to share with; the next one finds both wanting.
    await waitFor(
      () => {
        t.demands.look();
        return t.said.length === 1;
      },
      { what: "the demand of the last look" },
    );
    expect(t.said).toEqual([{ router: "r", epoch: 5n, wanted: true, held: 1 }]);
  });

  it("asks for an agent that a task waits for while others of the lane have room", async () => {
    const t = setUp();
    t.hold();
    addAgent(t.fleet, "other");
    const pinned = fakeTask({}, { requiredLabels: { gpu: "yes" } });
    t.queue.add(pinned, 0);
    const lane = t.queue.lane(laneKey("default", "x"));
    const best = () => (lane === undefined ? undefined : t.queue.best(lane));
    t.queue.remove(t.task.taskId);
    const { group, task } = best() ?? {};
    if (lane !== undefined && group !== undefined && task !== undefined) {
      lane.setAside(group, needOf(task), true);
    }
    t.demands.review();
    t.demands.look();
    t.agent.profile = { ...(t.agent.profile as AgentProfile), labels: { gpu: "yes" } };
    await waitFor(
      () => {
        t.demands.review();
        t.demands.look();
        return t.said.length === 1;
      },
      { what: "the demand" },
    );
    expect(t.said).toEqual([{ router: "r", epoch: 5n, wanted: true, held: 1 }]);
    t.queue.remove(pinned.taskId);
    lane?.reopenSome(1);
    t.demands.review();
    t.demands.look();
    await waitFor(() => t.said.length === 2, { what: "its end" });
    expect(t.said[1]).toMatchObject({ wanted: false });
  });

  it("takes all back when the others are gone", async () => {
    const t = setUp();
    t.hold();
    t.demands.look();
    await waitFor(() => t.said.length === 1, { what: "the demand" });
    t.scaleTo(1);
    t.demands.look();
    await waitFor(() => t.said.length === 2, { what: "its end" });
    expect(t.said[1]).toMatchObject({ wanted: false });
  });
});
