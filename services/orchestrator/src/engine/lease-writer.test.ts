import type { Transaction } from "@nexus/postgres";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { LiveTask } from "../domain/live-task.ts";
import { addAgent, fakeFleet, fakeLease, fakeTask } from "./engine.fake.ts";
import type { ClaimOrder } from "./lease-orders.ts";
import { LeaseWriter } from "./lease-writer.ts";
import type { OutcomeLog } from "./outcome-log.ts";
import type { EngineParts } from "./parts.ts";
import { turns } from "./scheduler.fake.ts";

/** A writer whose transactions begin when the test has changed memory meanwhile, and whose statements are noted. */
function setUp() {
  const tallies = { generation: 1 };
  const statements: string[] = [];
  const answering: { error?: Error } = {};
  const refusing = { statement: "", error: new Error("refused") };
  let failures = 0;
  const applied: ClaimOrder[] = [];
  const client = {
    query: async (statement: { name?: string; text: string }) => {
      const name = statement.name ?? statement.text;
      statements.push(name);
      if (name === refusing.statement) throw refusing.error;
      return { rows: name === "claim" ? [{ now_ms: 0, granted: null }] : [], rowCount: 0 };
    },
    commitWith: (...all: Promise<unknown>[]) => Promise.all(all),
  };
  let beforeTurn: () => void = () => undefined;
  const runs = { count: 0 };
  const parts = {
    limits: { flushItemsMax: 8, flushDelayMs: 0, updatesQueuedMax: 8 },
    tallies,
    paused: new Map(),
    logger: createSilentLogger(),
    nowMs: () => 0,
    events: { flushed: () => undefined, flushFailed: () => (failures += 1) },
    ledger: {
      owns: () => true,
      ownership: "owner",
      untilOwner: async () => undefined,
      run: async <T>(work: (tx: Transaction) => Promise<T>, apply: (value: T) => void) => {
        runs.count += 1;
        beforeTurn();
        const written = await work(client as unknown as Transaction);
        apply(written);
        return written;
      },
    },
  };
  let onDone: (claims: number) => void = () => undefined;
  const writer = new LeaseWriter({
    parts: parts as unknown as EngineParts,
    outcomes: { append: async () => undefined } as unknown as OutcomeLog,
    claimer: () => ({
      apply: (claims) => applied.push(...claims),
      done: (claims) => onDone(claims.length),
    }),
    settler: () => ({
      resolve: () => ({ ended: [], accepts }),
      apply: () => undefined,
      answer: async () => {
        if (answering.error !== undefined) throw answering.error;
      },
    }),
  });
  const agent = addAgent(fakeFleet(), "a", { slots: 1 });
  const accepts = [fakeLease(agent, 1n)];
  const claim = (changes: Partial<LiveTask> = {}): ClaimOrder => {
    const { agentId } = agent;
    const decision = {
      ...{ agentId, score: 0, factors: undefined, fallbackAgentId: "", fallbackScore: 0 },
      ...{ eligible: 0, rejections: [], exploration: false },
    };
    const chosen = {
      task: fakeTask(changes),
      agentId,
      agentEpoch: 1n,
      capabilityVersion: "1.0.0",
      decision,
    };
    return {
      kind: "claim",
      claim: chosen,
      agent,
      generation: 1,
      wait: { sinceMs: 0, startByMs: 1_000 },
      outcome: undefined,
    };
  };
  const word = (hear: (outcome: unknown) => void) =>
    ({ kind: "accept", taskId: "task_1", fence: 1n, hear, outcome: undefined }) as const;
  return {
    word,
    ...{ writer, statements, applied, claim, tallies, answering, refusing, runs },
    done: new Promise<number>((resolve) => {
      onDone = resolve;
    }),
    failures: () => failures,
    before: (change: () => void) => {
      beforeTurn = change;
    },
  };
}

const unable = (kind: "unavailable" | "deadline" | "conflict" | "internal") =>
  new NexusError({ kind, reason: "INTERNAL", message: "not now" });

describe("LeaseWriter", () => {
  it("writes no choice of a memory that was read anew since: the choices are made again", async () => {
    const t = setUp();
    t.before(() => {
      t.tallies.generation += 1;
    });
    const order = t.claim();
    t.writer.put(order);
    expect(await t.done).toBe(1);
    expect(t.statements).not.toContain("claim");
    expect(t.applied).toEqual([order]);
  });

  it("writes claims once more by the statement that looks when a task that memory takes for new has a row", async () => {
    const t = setUp();
    t.refusing.statement = "claim-new";
    t.refusing.error = new NexusError({ kind: "exists", reason: "ALREADY_EXISTS", message: "" });
    const order = t.claim({ isNew: true, jobId: `job_${"0".repeat(32)}` });
    t.writer.put(order);
    expect(await t.done).toBe(1);
    expect(t.statements.filter((name) => name.startsWith("claim"))).toEqual(["claim-new", "claim"]);
    expect([order.outcome, t.failures()]).toEqual(["WRITTEN", 0]);
  });

  it("tells every word what became of it, also beside a listener that fails", async () => {
    const t = setUp();
    const heard: unknown[] = [];
    const say = (hear: (outcome: unknown) => void) => {
      t.writer.put({ kind: "accept", taskId: "task_1", fence: 1n, hear, outcome: undefined });
    };
    say(() => {
      throw new Error("deaf");
    });
    say((outcome) => heard.push(outcome));
    await t.writer.close();
    expect(heard).toEqual(["STALE"]);
  });

  it("tells words of which nothing is known why, and claims beside them nothing of that", async () => {
    const t = setUp();
    t.before(() => {
      t.tallies.generation += 1;
    });
    t.answering.error = new NexusError({ kind: "internal", reason: "INTERNAL", message: "away" });
    const heard: unknown[] = [];
    const order = t.claim();
    t.writer.put(order);
    const hear = (outcome: unknown) => heard.push(outcome);
    t.writer.put({ kind: "accept", taskId: "task_1", fence: 1n, hear, outcome: undefined });
    await t.writer.close();
    expect(heard).toMatchObject([{ reason: "INTERNAL" }]);
    expect(order.outcome).toBe("WRITTEN");
  });

  it("tries words again after a pause while the database has no room, not at once", async () => {
    const t = setUp();
    let isFull = true;
    t.before(() => {
      if (isFull) throw unable("unavailable");
    });
    const heard: unknown[] = [];
    t.writer.put(t.word((outcome) => heard.push(outcome)));
    await turns(100);
    expect(t.runs.count).toBeLessThan(5);
    isFull = false;
    await t.writer.close();
    expect(heard).toEqual(["STALE"]);
  });

  for (const kind of ["deadline", "conflict"] as const) {
    it(`answers no word for which the database could not, and tries few of many: ${kind}`, async () => {
      const t = setUp();
      t.before(() => {
        throw unable(kind);
      });
      const heard: unknown[] = [];
      for (let i = 0; i < 8; i += 1) t.writer.put(t.word((outcome) => heard.push(outcome)));
      await t.writer.close();
      expect(heard).toHaveLength(8);
      for (const outcome of heard) expect(outcome).toMatchObject({ kind });
      if (kind === "deadline") expect(t.runs.count).toBeLessThan(8);
    });
  }

  it("answers a word STALE that the database refuses as it is", async () => {
    const t = setUp();
    t.before(() => {
      throw unable("internal");
    });
    const heard: unknown[] = [];
    t.writer.put(t.word((outcome) => heard.push(outcome)));
    await t.writer.close();
    expect(heard).toEqual(["STALE"]);
  });
});
