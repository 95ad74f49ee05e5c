import type { Transaction } from "@nexus/postgres";
import { describe, expect, it } from "vitest";
import { addAgent, fakeFleet, fakeTask } from "./engine.fake.ts";
import type { ClaimOrder } from "./lease-orders.ts";
import { LeaseWriter } from "./lease-writer.ts";
import type { OutcomeLog } from "./outcome-log.ts";
import type { EngineParts } from "./parts.ts";

/** A writer whose transactions begin when the test has changed memory meanwhile, and whose statements are noted. */
function setUp() {
  const tallies = { generation: 1 };
  const statements: string[] = [];
  const applied: ClaimOrder[] = [];
  const client = {
    query: async (statement: { name?: string; text: string }) => {
      statements.push(statement.name ?? statement.text);
      return { rows: [], rowCount: 0 };
    },
    commitWith: (...all: Promise<unknown>[]) => Promise.all(all),
  };
  let beforeTurn: () => void = () => undefined;
  const parts = {
    limits: { flushItemsMax: 8, flushDelayMs: 0, updatesQueuedMax: 8 },
    tallies,
    paused: new Map(),
    nowMs: () => 0,
    events: { flushed: () => undefined, flushFailed: () => undefined },
    ledger: {
      owns: () => true,
      run: async <T>(work: (tx: Transaction) => Promise<T>, apply: (value: T) => void) => {
        beforeTurn();
        const written = await work(client as unknown as Transaction);
        apply(written);
        return written;
      },
    },
  };
  const writer = new LeaseWriter({
    parts: parts as unknown as EngineParts,
    outcomes: { append: async () => undefined } as unknown as OutcomeLog,
    claimer: () => ({ apply: (claims) => applied.push(...claims) }),
    settler: () => ({
      resolve: () => ({ ended: [], accepts: [] }),
      apply: () => undefined,
      answer: async () => [],
    }),
  });
  const agent = addAgent(fakeFleet(), "a", { slots: 1 });
  const claim = (): ClaimOrder => {
    const { agentId } = agent;
    const decision = { factors: undefined, candidates: [] } as never;
    const chosen = {
      task: fakeTask(),
      agentId,
      agentEpoch: 1n,
      capabilityVersion: "1.0.0",
      decision,
    };
    return { kind: "claim", claim: chosen, agent, generation: 1, readySinceMs: 0 };
  };
  return {
    ...{ writer, statements, applied, claim, tallies },
    before: (change: () => void) => {
      beforeTurn = change;
    },
  };
}

describe("LeaseWriter", () => {
  it("writes no choice of a memory that was read anew since: the choices are made again", async () => {
    const t = setUp();
    t.before(() => {
      t.tallies.generation += 1;
    });
    const order = t.claim();
    await t.writer.claim(order);
    expect(t.statements).not.toContain("claim");
    expect(t.applied).toEqual([order]);
  });
});
