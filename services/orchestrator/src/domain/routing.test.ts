import { describe, expect, it } from "vitest";
import {
  chooseAgent,
  type RoutableAgent,
  type RoutingNeed,
  type RoutingPolicy,
  rejectionOf,
  type Skill,
  WEIGHTS,
} from "./routing.ts";

const SKILL: Skill = {
  versions: ["1.2.0", "1.0.0"],
  costMicros: 0,
  latencyMs: undefined,
  lowerBound: 0.5,
  evidence: 10,
};

const BIG = { key: "vram", comparator: "GREATER_THAN", values: ["40"], weight: 0 } as const;

type AgentChanges = Partial<Omit<RoutableAgent, "skill" | "admits">> & {
  skill?: Partial<Skill> | undefined;
  admits?: boolean;
};

function agent(agentId: string, changes: AgentChanges = {}): RoutableAgent {
  const { skill, admits, ...rest } = changes;
  const known = "skill" in changes && skill === undefined ? undefined : { ...SKILL, ...skill };
  return {
    agentId,
    labels: {},
    region: "",
    connection: "CONNECTED",
    slots: 4,
    inHand: 0,
    keptFor: undefined,
    lastAssigned: 0,
    ...rest,
    skill: (name) => (name === "text.analyse" ? known : undefined),
    admits: () => admits ?? true,
  };
}

function need(changes: Partial<RoutingNeed> = {}): RoutingNeed {
  return {
    rank: { taskId: "task_b", priority: 0, readyAtMs: 10 },
    capability: "text.analyse",
    versionRange: "",
    requiredLabels: {},
    preferredLabels: {},
    labelConstraints: [],
    preferredRegion: "",
    slotCost: 1,
    affinityAgentId: "",
    avoidAgentId: "",
    preferAgentId: "",
    ...changes,
  };
}

function policy(changes: Partial<RoutingPolicy> = {}): RoutingPolicy {
  return { bulkhead: 20, explorationShare: 0, random: () => 0.5, ...changes };
}

describe("rejectionOf", () => {
  const cases: readonly [string | undefined, AgentChanges, Partial<RoutingNeed>][] = [
    [undefined, {}, {}],
    [undefined, {}, { versionRange: "^1.1.0" }],
    [undefined, { labels: { gpu: "a100", zone: "eu" } }, { requiredLabels: { gpu: "a100" } }],
    ["CAPABILITY", { skill: undefined }, {}],
    ["VERSION", {}, { versionRange: "^2.0.0" }],
    ["LABELS", { labels: { gpu: "t4" } }, { requiredLabels: { gpu: "a100" } }],
    ["NOT_CONNECTED", { connection: "NONE" }, {}],
    ["NOT_CONNECTED", { connection: "DETACHED" }, {}],
    ["DRAINING", { connection: "DRAINING" }, {}],
    ["BREAKER_OPEN", { admits: false }, {}],
    ["NO_FREE_SLOT", { slots: 4, inHand: 4 }, {}],
    ["NO_FREE_SLOT", { slots: 0 }, {}],
    ["BULKHEAD_FULL", { slots: 100, inHand: 20 }, {}],
    [undefined, { slots: 4, inHand: 1 }, { slotCost: 3 }],
    ["TOO_FEW_SLOTS", { slots: 4, inHand: 2 }, { slotCost: 3 }],
    ["TOO_FEW_SLOTS", { slots: 4 }, { slotCost: 5 }],
    ["TOO_FEW_SLOTS", { slots: 100, inHand: 18 }, { slotCost: 3 }],
    ["RESERVED", { keptFor: { taskId: "task_a", priority: 0, readyAtMs: 10 } }, {}],
    [undefined, { keptFor: { taskId: "task_a", priority: 0, readyAtMs: 11 } }, {}],
    [undefined, { keptFor: { taskId: "task_b", priority: 0, readyAtMs: 10 } }, {}],
    ["RESERVED_FOR_THIS", { inHand: 4, keptFor: need().rank }, {}],
    ["NO_FREE_SLOT", { inHand: 4, keptFor: { ...need().rank, taskId: "task_a" } }, {}],
    [undefined, { labels: { vram: "80" } }, { labelConstraints: [BIG] }],
    ["LABEL_CONSTRAINT", { labels: { vram: "16" } }, { labelConstraints: [BIG] }],
    [undefined, { labels: { vram: "16" } }, { labelConstraints: [{ ...BIG, weight: 5 }] }],
  ];
  for (const [expected, changes, needs] of cases) {
    it(`gives ${expected ?? "nothing"} for ${JSON.stringify(changes)} and ${JSON.stringify(needs)}`, () => {
      expect(rejectionOf(agent("a", changes), need(needs), 20, 0)).toBe(expected);
    });
  }
});

describe("chooseAgent", () => {
  /** Who wins: the first of two agents that differ in one thing. */
  const better: readonly [string, AgentChanges, AgentChanges, Partial<RoutingNeed>][] = [
    ["the better reputation", { skill: { lowerBound: 0.9 } }, { skill: { lowerBound: 0.4 } }, {}],
    ["the faster one", { skill: { latencyMs: 100 } }, { skill: { latencyMs: 900 } }, {}],
    [
      "the less loaded one over a millisecond of latency",
      { slots: 20, inHand: 0, skill: { latencyMs: 2 } },
      { slots: 20, inHand: 2, skill: { latencyMs: 1 } },
      {},
    ],
    ["a fast one before an unknown one", { skill: { latencyMs: 100 } }, {}, {}],
    ["the idle one", { inHand: 0 }, { inHand: 3 }, {}],
    ["the cheaper one", { skill: { costMicros: 10 } }, { skill: { costMicros: 1_000 } }, {}],
    ["the free one", {}, { skill: { costMicros: 10 } }, {}],
    [
      "the one with preferred labels",
      { labels: { zone: "eu" } },
      { labels: { zone: "us" } },
      { preferredLabels: { zone: "eu" } },
    ],
    [
      "the one that fulfils the weightier wish",
      { labels: { vram: "80" } },
      { labels: { zone: "eu" } },
      { preferredLabels: { zone: "eu" }, labelConstraints: [{ ...BIG, weight: 3 }] },
    ],
    [
      "the agent of its affinity key, as long as it has room",
      { slots: 20, inHand: 19 },
      { slots: 20 },
      { affinityAgentId: "winner" },
    ],
    [
      "a much better one before that of its affinity key",
      { skill: { lowerBound: 0.95 } },
      { skill: { lowerBound: 0.2 } },
      { affinityAgentId: "loser" },
    ],
    ["the one that waited longest on a tie", { lastAssigned: 3 }, { lastAssigned: 7 }, {}],
  ];
  for (const [what, winner, loser, needs] of better) {
    it(`prefers ${what}`, () => {
      const rivals = [agent("loser", loser), agent("winner", winner)];
      const { agent: first, decision } = chooseAgent(rivals, [], need(needs), policy());
      expect(first?.agentId).toBe("winner");
      expect(decision.fallbackAgentId).toBe("loser");
    });
  }

  it("has weights that sum to one, so that a score is 0 to 1", () => {
    expect(Object.values(WEIGHTS).reduce((sum, weight) => sum + weight)).toBeCloseTo(1, 12);
  });

  it("adds the factors up by their weights", () => {
    const changes = {
      inHand: 1,
      region: "eu",
      labels: { gpu: "yes" },
      skill: { lowerBound: 0.7, latencyMs: 90, costMicros: 30 },
    };
    const wishes = { preferredRegion: "eu", preferredLabels: { gpu: "yes", fast: "yes" } };
    const rivals = [agent("a", changes), agent("b", { skill: { latencyMs: 40, costMicros: 10 } })];
    for (const preferAgentId of ["a", "b"]) {
      const { decision } = chooseAgent(rivals, [], need({ ...wishes, preferAgentId }), policy());
      const factors = Object.entries(decision.factors ?? {}) as [keyof typeof WEIGHTS, number][];
      expect(factors).toHaveLength(Object.keys(WEIGHTS).length);
      const sum = factors.reduce((all, [name, factor]) => all + factor * WEIGHTS[name], 0);
      expect(decision.score).toBeCloseTo(sum, 12);
    }
  });

  it("keeps factors, runner-up and counts for the explanation", () => {
    const { decision, version } = chooseAgent(
      [agent("a", { inHand: 2 }), agent("b")],
      [{ agentId: "c", reason: "DRAINING" }],
      need({ versionRange: "1.0.x" }),
      policy(),
    );
    expect(version).toBe("1.0.0");
    expect(decision).toMatchObject({
      agentId: "b",
      factors: { reputation: 0.5, load: 1, preferred: 1, affinity: 1 },
      fallbackAgentId: "a",
      eligible: 2,
      rejections: [{ agentId: "c", reason: "DRAINING" }],
      exploration: false,
    });
  });

  it("prefers an agent of the wished region, unless it is much worse otherwise", () => {
    const far = agent("far", { region: "us" });
    const near = agent("near", { region: "eu" });
    const wish = need({ preferredRegion: "eu" });
    const { decision } = chooseAgent([far, near], [], wish, policy());
    expect(decision).toMatchObject({ agentId: "near", factors: { region: 1 } });
    const busy = agent("near", { region: "eu", inHand: 3 });
    const other = chooseAgent([far, busy], [], wish, policy()).decision;
    expect(other).toMatchObject({ agentId: "far", factors: { region: 0 } });
    expect(chooseAgent([far], [], need(), policy()).decision.factors?.region).toBe(1);
  });

  it("spreads equal agents round robin", () => {
    let turn = 0;
    const last = new Map<string, number>();
    const chosen: string[] = [];
    for (let i = 0; i < 6; i++) {
      const fleet = ["a", "b", "c"].map((id) => agent(id, { lastAssigned: last.get(id) ?? 0 }));
      const id = chooseAgent(fleet, [], need(), policy()).decision.agentId;
      last.set(id, (turn += 1));
      chosen.push(id);
    }
    expect(chosen).toEqual(["a", "b", "c", "a", "b", "c"]);
  });

  it("sets aside the agent that just failed the task, and says so", () => {
    const fleet = [agent("bad", { skill: { lowerBound: 1 } }), agent("other")];
    const { decision } = chooseAgent(fleet, [], need({ avoidAgentId: "bad" }), policy());
    expect(decision.agentId).toBe("other");
    expect(decision.rejections).toEqual([{ agentId: "bad", reason: "FAILED_BEFORE" }]);
  });

  it("takes the agent that just failed the task when there is no other", () => {
    const { decision } = chooseAgent([agent("bad")], [], need({ avoidAgentId: "bad" }), policy());
    expect(decision.agentId).toBe("bad");
  });

  it("gives a refused task to its fallback", () => {
    const fleet = [agent("best", { skill: { lowerBound: 1 } }), agent("second")];
    const { decision } = chooseAgent(fleet, [], need({ preferAgentId: "second" }), policy());
    expect(decision.agentId).toBe("second");
  });

  it("explores the least proven agent in its share of the choices", () => {
    const fleet = [
      agent("proven", { skill: { lowerBound: 0.9, evidence: 100 } }),
      agent("novice", { skill: { lowerBound: 0, evidence: 0 } }),
    ];
    const exploring = policy({ explorationShare: 0.02, random: () => 0.019 });
    expect(chooseAgent(fleet, [], need(), exploring).decision).toMatchObject({
      agentId: "novice",
      exploration: true,
      fallbackAgentId: "proven",
    });
    const exploiting = policy({ explorationShare: 0.02, random: () => 0.02 });
    expect(chooseAgent(fleet, [], need(), exploiting).decision).toMatchObject({
      agentId: "proven",
      exploration: false,
    });
  });

  it("chooses nobody from nobody", () => {
    const rejections = [{ agentId: "a", reason: "NO_FREE_SLOT" as const }];
    const choice = chooseAgent([], rejections, need(), policy());
    expect(choice.agent).toBeUndefined();
    expect(choice.decision).toMatchObject({ agentId: "", eligible: 0, rejections });
  });
});
