import { waitFor } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import type { AgentEntry, AgentProfile } from "./agent-entry.ts";
import { addAgent, fakeLease, fakeTask } from "./engine.fake.ts";
import type { Fleet } from "./fleet.ts";
import { COMPARED_MAX } from "./lane.ts";
import { RESERVE_AFTER_MS } from "./reservations.ts";
import { setUp, turns } from "./scheduler.fake.ts";
import { CLAIMS_IN_FLIGHT_MAX, MISSES_PER_TURN } from "./scheduler.ts";

describe("Scheduler", () => {
  it("gives tasks to free slots, best first, and leaves the rest", async () => {
    const t = setUp();
    addAgent(t.fleet, "a", { slots: 2 });
    for (const priority of [0, 5, 9]) t.add(fakeTask({ key: `p${priority}`, priority }));
    await turns();
    expect(t.given()).toEqual(["p9>a", "p5>a"]);
    expect(t.queue.size).toBe(1);
  });

  it("looks again when a slot frees", async () => {
    const t = setUp();
    const agent = addAgent(t.fleet, "a");
    t.add(fakeTask({ key: "one" }));
    t.add(fakeTask({ key: "two" }));
    await turns();
    expect(t.given()).toEqual(["one>a"]);
    agent.claims = 0;
    t.scheduler.wakeAgent(agent);
    await turns();
    expect(t.given()).toEqual(["one>a", "two>a"]);
  });

  it("serves another class when the best task finds nobody", async () => {
    const t = setUp();
    addAgent(t.fleet, "a", { slots: 1 });
    t.add(fakeTask({ key: "picky", priority: 9 }, { requiredLabels: { gpu: "a100" } }));
    t.add(fakeTask({ key: "easy" }));
    await turns();
    expect(t.given()).toEqual(["easy>a"]);
    addAgent(t.fleet, "g", { labels: { gpu: "a100" } });
    t.scheduler.wakeAgent(t.fleet.open("default", "g"));
    await turns();
    expect(t.given()).toEqual(["easy>a", "picky>g"]);
  });

  it("keeps priority between capabilities that share an agent", async () => {
    const t = setUp();
    t.add(fakeTask({ key: "low" }, { capability: "x" }));
    t.add(fakeTask({ key: "high", priority: 9 }, { capability: "y" }));
    const agent = addAgent(t.fleet, "a", { slots: 1, skills: ["x", "y"] });
    t.scheduler.wakeAgent(agent);
    await turns();
    expect(t.given()).toEqual(["high>a"]);
  });

  it("spreads a burst over equal agents", async () => {
    const t = setUp();
    for (const id of ["a", "b", "c"]) addAgent(t.fleet, id, { slots: 10 });
    for (let i = 0; i < 9; i += 1) t.add(fakeTask());
    await turns();
    const perAgent = ["a", "b", "c"].map((id) => t.given().filter((g) => g.endsWith(id)).length);
    expect(perAgent).toEqual([3, 3, 3]);
  });

  it("counts what a task costs, and lets cheaper ones pass one that does not fit yet", async () => {
    const t = setUp();
    const agent = addAgent(t.fleet, "a", { slots: 4 });
    t.add(fakeTask({ key: "big", priority: 9 }, { slotCost: 3 }));
    t.add(fakeTask({ key: "big2", priority: 8 }, { slotCost: 3 }));
    t.add(fakeTask({ key: "small" }));
    await turns();
    expect(t.given()).toEqual(["big>a", "small>a"]);
    expect(agent.inHand).toBe(4);
    agent.claims -= 3;
    t.scheduler.wakeAgent(agent);
    await turns();
    expect(t.given()).toEqual(["big>a", "small>a", "big2>a"]);
  });

  it("keeps the tasks of an affinity key together, and goes on when their agent is full", async () => {
    const t = setUp();
    for (const id of ["a", "b", "c"]) addAgent(t.fleet, id, { slots: 3 });
    const chat = { affinityKey: "chat" };
    for (let i = 0; i < 4; i += 1) t.add(fakeTask({ key: `t${i}` }, chat));
    await turns();
    const agents = t.claims.map(({ agent }) => agent.agentId);
    expect(new Set(agents.slice(0, 3)).size).toBe(1);
    expect(agents[3]).not.toBe(agents[0]);
    expect(t.claims[1]?.claim.decision.factors?.affinity).toBe(1);
    const { rejections } = t.claims[3]?.claim.decision ?? {};
    expect(rejections).toEqual([{ agentId: agents[0], reason: "NO_FREE_SLOT" }]);
  });

  it("chooses nothing while paused, and everything that waits once resumed", async () => {
    const t = setUp();
    addAgent(t.fleet, "a");
    t.scheduler.pause();
    t.add(fakeTask({ key: "waits" }));
    await turns();
    expect(t.given()).toEqual([]);
    t.scheduler.resume();
    await turns();
    expect(t.given()).toEqual(["waits>a"]);
  });

  it("stops at the limit of claims in flight, and goes on when they are committed", async () => {
    const t = setUp();
    addAgent(t.fleet, "a");
    t.setInFlight(10_000);
    t.add(fakeTask({ key: "later" }));
    await turns();
    expect(t.given()).toEqual([]);
    t.setInFlight(0);
    t.scheduler.claimsCommitted();
    await turns();
    expect(t.given()).toEqual(["later>a"]);
  });

  it("does not choose all of a long queue in one turn", async () => {
    const t = setUp();
    for (let i = 0; i < 100; i += 1) addAgent(t.fleet, `a${i}`, { slots: 20 });
    for (let i = 0; i < 1_000; i += 1) t.add(fakeTask());
    await turns(1);
    expect(t.claims.length).toBe(256);
    await turns(5);
    expect(t.claims.length).toBe(1_000);
  });

  it("lets a probe through when the time of an open breaker is over", async () => {
    const t = setUp();
    const agent = addAgent(t.fleet, "a", { slots: 5 });
    for (let i = 0; i < 5; i += 1) agent.breaker("x").onOutcome("earlier", "FAILURE", 0);
    t.add(fakeTask({ key: "one" }));
    t.add(fakeTask({ key: "two" }));
    await turns();
    expect(t.given()).toEqual([]);
    t.setNow(10_000);
    t.scheduler.wakeAll();
    await turns();
    expect(t.given()).toEqual(["one>a"]);
    agent.breaker("x").onOutcome(t.claims[0]?.claim.task.taskId ?? "", "SUCCESS", 10_000);
    t.scheduler.wakeAll();
    await turns();
    expect(t.given()).toEqual(["one>a", "two>a"]);
  });
});

const HAS_GPU = { key: "gpu", comparator: "EXISTS", values: [], weight: 0 } as const;

/** How many times agents were looked for. */
function countLooks(fleet: Fleet): () => number {
  const find = fleet.findCandidates.bind(fleet);
  let looks = 0;
  fleet.findCandidates = (...args) => {
    looks += 1;
    return find(...args);
  };
  return () => looks;
}

describe("many classes that nobody can serve", () => {
  for (const classes of [300, 5_000]) {
    it(`are looked at once each, and then cost nothing: ${classes}`, async () => {
      const t = setUp();
      const agent = addAgent(t.fleet, "a", { slots: 2, labels: { session: "mine" } });
      const looks = countLooks(t.fleet);
      for (let i = 0; i < classes; i += 1) {
        t.add(fakeTask({ priority: 9 }, { requiredLabels: { session: `s${i}` } }));
      }
      t.add(fakeTask({ key: "plain" }));
      await turns(classes / MISSES_PER_TURN + 2);
      expect(t.given()).toEqual(["plain>a"]);
      expect(looks()).toBe(classes + 1);
      for (let i = 0; i < 10; i += 1) {
        agent.claims = 0;
        t.scheduler.wakeAgent(agent);
        t.add(fakeTask());
        await turns();
      }
      expect(t.claims).toHaveLength(11);
      expect(looks()).toBe(classes + 11);
    });
  }

  it("do not hold up another namespace", async () => {
    const t = setUp();
    addAgent(t.fleet, "busy", { ns: "crowd" });
    addAgent(t.fleet, "free", { slots: 20 });
    const crowd = { namespace: "crowd", readyAtMs: 1 };
    for (let i = 0; i < 5_000; i += 1) t.add(fakeTask(crowd, { versionRange: `^9.${i}.0` }));
    for (let i = 0; i < 10; i += 1) t.add(fakeTask({ readyAtMs: 2 }));
    expect(t.scheduler.place([fakeTask({ namespace: "third" })])).toEqual([]);
    await turns(1);
    expect(t.claims).toHaveLength(10);
    expect(t.scheduler.place([fakeTask()])).toHaveLength(1);
  });

  it("are all tried, by and by, when an agent changes that was compared with some of them", async () => {
    const t = setUp();
    const agent = addAgent(t.fleet, "a", { slots: 2 });
    const classes = 20 * COMPARED_MAX;
    for (let i = 0; i < classes; i += 1) t.add(fakeTask({}, { versionRange: `^9.${i}.0` }));
    t.add(fakeTask({ key: "late" }, { labelConstraints: [HAS_GPU] }));
    await turns(classes / MISSES_PER_TURN + 2);
    expect(t.given()).toEqual([]);
    const looks = countLooks(t.fleet);
    agent.profile = { ...(agent.profile as AgentProfile), labels: { gpu: "yes" } };
    t.scheduler.wakeAgent(agent);
    await waitFor(() => t.given().length > 0, { what: "the task" });
    expect(t.given()).toEqual(["late>a"]);
    expect(looks()).toBeLessThanOrEqual(classes + 1);
    t.scheduler.pause();
  });

  it("are looked at again when an agent comes that can serve them", async () => {
    const t = setUp();
    addAgent(t.fleet, "a");
    const looks = countLooks(t.fleet);
    for (let i = 0; i < 600; i += 1) {
      t.add(fakeTask({ key: `t${i}` }, { requiredLabels: { session: `s${i}` } }));
    }
    await turns(6);
    expect(looks()).toBe(600);
    const agent = addAgent(t.fleet, "b", { labels: { session: "s599" } });
    t.scheduler.wakeAgent(agent);
    await turns();
    expect(t.given()).toEqual(["t599>b"]);
    expect(looks()).toBe(601);
  });
});

describe("a large fleet", () => {
  it("gives each task to the one of 5 000 agents that can take it, in a bounded number of looks", async () => {
    const t = setUp();
    for (let i = 0; i < 5_000; i += 1) addAgent(t.fleet, `a${i}`, { labels: { n: `${i}` } });
    const looks = countLooks(t.fleet);
    const places = [0, 1_023, 1_024, 2_500, 4_998, 4_999];
    for (const n of places) t.add(fakeTask({ key: `t${n}` }, { requiredLabels: { n: `${n}` } }));
    t.add(fakeTask({ key: "nobody's" }, { requiredLabels: { n: "none" } }));
    await turns(10);
    expect([...t.given()].sort()).toEqual(places.map((n) => `t${n}>a${n}`).sort());
    expect(looks()).toBeLessThanOrEqual(7 * 6);
    const before = looks();
    const agent = t.fleet.get("default", "a7") as AgentEntry;
    t.scheduler.wakeAgent(agent);
    await turns();
    expect(looks()).toBeLessThanOrEqual(before + 6);
  });

  it("has an agent found among 5 000 that is to be kept for a task, in a few sweeps", async () => {
    const t = setUp();
    for (let i = 0; i < 5_000; i += 1) {
      const agent = addAgent(t.fleet, `a${i}`, { slots: 2, labels: { n: `${i}` } });
      agent.claims = 1;
      t.fleet.refresh(agent);
    }
    t.add(fakeTask({}, { slotCost: 2, requiredLabels: { n: "1600" } }));
    await turns(10);
    t.setNow(RESERVE_AFTER_MS);
    for (let i = 0; i < 5; i += 1) t.scheduler.wakeAll();
    expect([...t.fleet.kept].map(({ agentId }) => agentId)).toEqual(["a1600"]);
  });
});

describe("place", () => {
  it("chooses for tasks that are not queued yet, best first, as long as there are slots", () => {
    const t = setUp();
    const agent = addAgent(t.fleet, "a", { slots: 2 });
    const tasks = [0, 5, 9].map((priority) => fakeTask({ key: `p${priority}`, priority }));
    const placed = t.scheduler.place(tasks);
    expect(placed.map(({ claim }) => claim.task.key)).toEqual(["p9", "p5"]);
    expect(agent.claims).toBe(2);
    expect(t.given()).toEqual([]);
  });

  it("chooses nothing where a task of the lane waits, or a lane is still to be looked at", async () => {
    const t = setUp();
    t.add(fakeTask({ key: "waits" }, { requiredLabels: { gpu: "yes" } }));
    addAgent(t.fleet, "a", { slots: 2 });
    expect(t.scheduler.place([fakeTask()])).toEqual([]);
    await turns();
    expect(t.scheduler.place([fakeTask()])).toEqual([]);
    t.queue.clear();
    expect(t.scheduler.place([fakeTask()])).toHaveLength(1);
  });

  it("chooses nothing while nothing can be committed, and no more than may be under way", () => {
    const t = setUp();
    addAgent(t.fleet, "a", { slots: 8 });
    t.setInFlight(CLAIMS_IN_FLIGHT_MAX - 1);
    expect(t.scheduler.place([fakeTask(), fakeTask()])).toHaveLength(1);
    t.setInFlight(0);
    t.scheduler.pause();
    expect(t.scheduler.place([fakeTask()])).toEqual([]);
  });

  it("counts on no slot whose end is not stored yet, which a claim may have: it is stored behind that end", async () => {
    const t = setUp();
    const agent = addAgent(t.fleet, "a", { slots: 2 });
    const live = fakeLease(agent, 1n);
    agent.addLease(live);
    agent.freeSlots(live);
    expect(t.scheduler.place([fakeTask(), fakeTask()])).toHaveLength(1);
    t.add(fakeTask({ key: "one" }));
    t.scheduler.wakeAll();
    await turns();
    expect(t.given()).toEqual(["one>a"]);
  });

  it("leaves tasks of a lane behind one that finds nobody", () => {
    const t = setUp();
    addAgent(t.fleet, "a", { slots: 4 });
    const tasks = [
      fakeTask({ priority: 9 }, { requiredLabels: { gpu: "yes" } }),
      fakeTask({ priority: 1 }),
    ];
    expect(t.scheduler.place(tasks)).toEqual([]);
  });
});
