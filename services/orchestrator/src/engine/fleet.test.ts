import { describe, expect, it, vi } from "vitest";
import { AgentEntry } from "./agent-entry.ts";
import { LOOKS_MAX } from "./agent-search.ts";
import { addAgent, fakeFleet, fakeLease, fakeTask, SKILL } from "./engine.fake.ts";
import { CANDIDATES_MAX } from "./fleet.ts";
import { IndexedSet } from "./indexed-set.ts";
import { laneKey, needOf } from "./ready-queue.ts";

const LANE = laneKey("default", "x");
const NEED = needOf(fakeTask());

describe("Fleet", () => {
  it("opens and closes agents as their slots fill and free", () => {
    const fleet = fakeFleet();
    const agent = addAgent(fleet, "a", { slots: 2 });
    expect(fleet.hasOpen(LANE)).toBe(true);
    agent.claims = 2;
    fleet.refresh(agent);
    expect(fleet.hasOpen(LANE)).toBe(false);
    agent.claims = 1;
    fleet.refresh(agent);
    expect(fleet.hasOpen(LANE)).toBe(true);
    agent.unreachable = true;
    fleet.refresh(agent);
    expect(fleet.hasOpen(LANE)).toBe(false);
  });

  it("remembers an agent that is gone for as long as a lease of it lives, though it is done with that", () => {
    const fleet = fakeFleet();
    const agent = addAgent(fleet, "a");
    const live = fakeLease(agent, 1n);
    agent.addLease(live);
    agent.freeSlots(live);
    agent.session = undefined;
    fleet.removeProfile("default", "a");
    expect(fleet.get("default", "a")).toBe(agent);
    agent.removeLease(live.lease.task.taskId);
    fleet.refresh(agent);
    expect(fleet.get("default", "a")).toBeUndefined();
  });

  it("closes an agent at the bulkhead, whatever its slots", () => {
    const fleet = fakeFleet({ bulkhead: 3 });
    const agent = addAgent(fleet, "a", { slots: 100 });
    agent.claims = 3;
    fleet.refresh(agent);
    expect(fleet.hasOpen(LANE)).toBe(false);
    const { rejections } = fleet.findCandidates("default", NEED, 0);
    expect(rejections).toEqual([{ agentId: "a", reason: "BULKHEAD_FULL" }]);
  });

  it("keeps namespaces apart", () => {
    const fleet = fakeFleet();
    addAgent(fleet, "a", { ns: "other" });
    expect(fleet.findCandidates("default", NEED, 0)).toMatchObject({
      eligible: [],
      rejections: [],
    });
    expect(fleet.liveCapabilities("default")).toEqual([]);
    expect(fleet.liveCapabilities("other")).toEqual(["x@1.0.0"]);
  });

  it("knows what connected agents can do as they come, change and go", () => {
    const fleet = fakeFleet();
    const say = (agentId: string, skills: Record<string, string[]>) =>
      fleet.setProfile({
        namespace: "default",
        agentId,
        labels: {},
        region: "",
        skills: new Map(
          Object.entries(skills).map(([name, versions]) => [name, { ...SKILL, versions }]),
        ),
      });
    const connect = (agent: AgentEntry, state: "CONNECTED" | "DRAINING" = "CONNECTED") => {
      agent.session = { epoch: 1n, state, slots: 1, router: "r" };
      fleet.refresh(agent);
    };
    const live = () => fleet.liveCapabilities("default").join(" ");
    const a = say("a", { x: ["2.0.0", "1.0.0"] });
    expect(live()).toBe("");
    connect(a);
    expect(live()).toBe("x@1.0.0 x@2.0.0");
    a.claims = 1;
    fleet.refresh(a);
    expect(live()).toBe("x@1.0.0 x@2.0.0");
    // A session may be known before the profile is.
    const b = fleet.open("default", "b");
    connect(b);
    say("b", { x: ["2.0.0"], y: ["1.0.0"], none: [] });
    expect(live()).toBe("x@1.0.0 x@2.0.0 y@1.0.0");
    a.unreachable = true;
    fleet.refresh(a);
    expect(live()).toBe("x@2.0.0 y@1.0.0");
    expect(fleet.hasLiveSkill("default", "x", "^1.0.0")).toBe(false);
    expect(fleet.hasLiveSkill("default", "x", "^2.0.0")).toBe(true);
    expect(fleet.hasLiveSkill("default", "none", "")).toBe(false);
    say("b", { x: ["1.0.0"] });
    expect(live()).toBe("x@1.0.0");
    connect(b, "DRAINING");
    expect(live()).toBe("");
    connect(b);
    expect(fleet.hasLiveSkill("default", "x", "")).toBe(true);
    fleet.removeProfile("default", "b");
    expect(live()).toBe("");
    expect(fleet.hasLiveSkill("default", "x", "")).toBe(false);
  });

  it("looks at no agent to say what is live, and at no lane of one that is as open as before", () => {
    const fleet = fakeFleet();
    const skills = Array.from({ length: 256 }, (_, i) => `skill-${i}`);
    const agent = addAgent(fleet, "many", { slots: 10, skills });
    for (let i = 0; i < 100; i += 1) addAgent(fleet, `agent-${i}`);
    const looks = vi.spyOn(AgentEntry.prototype, "connection", "get");
    expect(fleet.liveCapabilities("default")).toHaveLength(257);
    expect(fleet.hasLiveSkill("default", "x", "^3.0.0")).toBe(false);
    expect(looks).not.toHaveBeenCalled();
    looks.mockRestore();
    const adds = vi.spyOn(IndexedSet.prototype, "add");
    agent.claims = 9;
    fleet.refresh(agent);
    expect(adds).not.toHaveBeenCalled();
    agent.claims = 10;
    fleet.refresh(agent);
    expect(adds).toHaveBeenCalledTimes(256);
    adds.mockRestore();
    expect(fleet.hasOpen(laneKey("default", "skill-7"))).toBe(false);
  });

  it("follows a profile that changes, and forgets an agent that is wholly gone", () => {
    const fleet = fakeFleet();
    const agent = addAgent(fleet, "a");
    fleet.setProfile({
      namespace: "default",
      agentId: "a",
      labels: {},
      region: "",
      skills: new Map([["y", SKILL]]),
    });
    expect(fleet.hasOpen(LANE)).toBe(false);
    expect(fleet.hasOpen(laneKey("default", "y"))).toBe(true);
    fleet.removeProfile("default", "a");
    expect(fleet.size).toBe(1);
    agent.session = undefined;
    fleet.refresh(agent);
    expect(fleet.size).toBe(0);
  });

  it("knows which capabilities are live, by version", () => {
    const fleet = fakeFleet();
    const agent = addAgent(fleet, "a");
    expect(fleet.hasLiveSkill("default", "x", "^1.0.0")).toBe(true);
    expect(fleet.hasLiveSkill("default", "x", "^2.0.0")).toBe(false);
    expect(fleet.hasLiveSkill("default", "y", "")).toBe(false);
    agent.session = undefined;
    fleet.refresh(agent);
    expect(fleet.hasLiveSkill("default", "x", "")).toBe(false);
  });

  it("scores a bounded sample of a large fleet, from a random place on", () => {
    let place = 0;
    const fleet = fakeFleet({ random: () => place });
    for (let i = 0; i < 3_000; i += 1) addAgent(fleet, `a${i}`);
    const first = fleet.findCandidates("default", NEED, 0);
    expect(first.eligible).toHaveLength(CANDIDATES_MAX);
    expect(first.eligible[0]?.agentId).toBe("a0");
    place = 0.5;
    expect(fleet.findCandidates("default", NEED, 0).eligible[0]?.agentId).toBe("a1500");
  });

  it("finds the agents that a task names in a large fleet, each once", () => {
    const fleet = fakeFleet();
    for (let i = 0; i < 3_000; i += 1) addAgent(fleet, `a${i}`);
    const need = { ...NEED, preferAgentId: "a2500", affinityAgentId: "a2999" };
    const ids = fleet.findCandidates("default", need, 0).eligible.map(({ agentId }) => agentId);
    expect(ids.slice(0, 3)).toEqual(["a2500", "a2999", "a0"]);
    const near = { ...NEED, preferAgentId: "a3", affinityAgentId: "a3" };
    const found = fleet.findCandidates("default", near, 0).eligible;
    expect(new Set(found).size).toBe(found.length);
    const gone = { ...NEED, affinityAgentId: "nobody" };
    expect(fleet.findCandidates("default", gone, 0).eligible).toHaveLength(CANDIDATES_MAX);
  });

  it("looks at a bounded number of agents when few are eligible", () => {
    const fleet = fakeFleet();
    for (let i = 0; i < 2 * LOOKS_MAX; i += 1) addAgent(fleet, `a${i}`, { labels: { n: `${i}` } });
    const near = needOf(fakeTask({}, { requiredLabels: { n: "5" } }));
    expect(fleet.findCandidates("default", near, 0).eligible).toHaveLength(1);
    const far = needOf(fakeTask({}, { requiredLabels: { n: `${LOOKS_MAX + 5}` } }));
    const missed = fleet.findCandidates("default", far, 0);
    expect(missed.eligible).toHaveLength(0);
    expect(missed.rejections).toHaveLength(32);
  });

  it("goes on with those that it has not looked at, until it has seen all that are open", () => {
    const fleet = fakeFleet();
    const agents = Array.from({ length: 5_000 }, (_, i) =>
      addAgent(fleet, `a${i}`, { labels: { n: `${i}` } }),
    );
    const search = (n: string) => {
      const need = needOf(fakeTask({}, { requiredLabels: { n } }));
      const blocks = [fleet.findCandidates("default", need, 0)];
      for (let last = blocks[0]; last?.rest !== undefined; last = blocks.at(-1)) {
        if (blocks.length === 3) meanwhile();
        blocks.push(fleet.findCandidates("default", need, 0, last.rest));
      }
      return { blocks: blocks.length, last: blocks.at(-1) };
    };
    let meanwhile: () => unknown = () => undefined;
    expect(search("4321").last?.eligible).toHaveLength(1);
    expect(search("nobody")).toMatchObject({ blocks: 6, last: { eligible: [], sure: true } });
    meanwhile = () => addAgent(fleet, "late", { labels: { n: "late" } });
    expect(search("late").last?.eligible).toHaveLength(1);
    // Another one takes the place of one that leaves.
    const [first] = agents as [AgentEntry];
    meanwhile = () => {
      first.claims = 1;
      fleet.refresh(first);
    };
    expect(search("nobody").last).toMatchObject({ eligible: [], rest: undefined, sure: false });
    const far = needOf(fakeTask({}, { requiredLabels: { n: "4999" } }));
    expect(fleet.findAnywhere("default", far, 0).eligible).toHaveLength(1);
  });

  it("finds agents that are full behind any number of others", () => {
    const fleet = fakeFleet();
    for (let i = 0; i < 5_000; i += 1) {
      const agent = addAgent(fleet, `a${i}`);
      if (i < 4_990) agent.session = undefined;
      else agent.claims = 1;
      fleet.refresh(agent);
    }
    const asked = vi.spyOn(AgentEntry.prototype, "connection", "get");
    const looks = vi.spyOn(AgentEntry.prototype, "inHand", "get");
    expect(fleet.findFull(LANE, 64)).toHaveLength(10);
    expect(asked).not.toHaveBeenCalled();
    expect(looks).toHaveBeenCalledTimes(10);
    asked.mockRestore();
    looks.mockRestore();
  });

  it("looks for full agents at so many at a time, and stays where it found some", () => {
    const fleet = fakeFleet({ bulkhead: 1 });
    for (let i = 0; i < 5_000; i += 1) {
      const agent = addAgent(fleet, `a${i}`, { slots: i === 4_321 ? 1 : 2 });
      agent.claims = 1;
      fleet.refresh(agent);
    }
    const found = Array.from({ length: 7 }, () => {
      const looks = vi.spyOn(AgentEntry.prototype, "inHand", "get");
      const ids = fleet.findFull(LANE, 64).map(({ agentId }) => agentId);
      expect(looks).toHaveBeenCalledTimes(LOOKS_MAX);
      looks.mockRestore();
      return ids.join();
    });
    expect(found).toEqual(["", "", "", "", "a4321", "a4321", "a4321"]);
  });

  it("finds no full agent that is gone, or that the registry no longer knows", () => {
    const fleet = fakeFleet();
    const [gone, removed, here] = ["gone", "removed", "here"].map((id) => {
      const agent = addAgent(fleet, id);
      agent.claims = 1;
      fleet.refresh(agent);
      return agent;
    }) as [AgentEntry, AgentEntry, AgentEntry];
    expect(fleet.findFull(LANE, 64)).toEqual([gone, removed, here]);
    gone.unreachable = true;
    fleet.refresh(gone);
    fleet.removeProfile("default", "removed");
    expect(fleet.findFull(LANE, 64)).toEqual([here]);
  });

  it("says why agents that are not open could not be chosen", () => {
    const fleet = fakeFleet();
    addAgent(fleet, "free");
    const full = addAgent(fleet, "full");
    full.claims = 1;
    fleet.refresh(full);
    const drained = addAgent(fleet, "drained");
    drained.session = { epoch: 1n, state: "DRAINING", slots: 1, router: "r" };
    fleet.refresh(drained);
    const cool = addAgent(fleet, "cool");
    cool.coolUntilMs = 100;
    const { eligible, rejections } = fleet.findCandidates("default", NEED, 50);
    expect(eligible.map((agent) => agent.agentId)).toEqual(["free"]);
    expect([...rejections].sort((a, b) => (a.agentId < b.agentId ? -1 : 1))).toEqual([
      { agentId: "cool", reason: "NOT_CONNECTED" },
      { agentId: "drained", reason: "DRAINING" },
      { agentId: "full", reason: "NO_FREE_SLOT" },
    ]);
    const later = fleet.findCandidates("default", NEED, 100);
    expect(later.eligible).toHaveLength(2);
  });
});
