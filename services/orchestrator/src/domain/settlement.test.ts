import { describe, expect, it } from "vitest";
import { type AttemptTally, type Ending, type SettlementPolicy, settle } from "./settlement.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./task.ts";

const OUTPUT = { contentType: "text/plain", data: new Uint8Array([1]) };

function policy(retry: Partial<RetryPolicy> = {}, random = 0): SettlementPolicy {
  return {
    retry: { ...DEFAULT_RETRY, ...retry },
    uncostedAttemptsMax: 10,
    random: () => random,
  };
}

function failed(reason = "AGENT_ERROR", retryable = true): Ending {
  return { kind: "FAILED", reason, message: "it broke", retryable };
}

interface Case {
  readonly what: string;
  readonly ending: Ending;
  readonly tally: AttemptTally;
  readonly retry?: Partial<RetryPolicy>;
  readonly expected: object;
}

const FIRST = { attempts: 1, charged: 0 };

const CASES: readonly Case[] = [
  {
    what: "an output succeeds",
    ending: { kind: "COMPLETED", output: OUTPUT },
    tally: FIRST,
    expected: { event: "SUCCEED", outcome: "SUCCEEDED", charged: true, verdict: "SUCCESS" },
  },
  {
    what: "the first failure is retried after the initial delay",
    ending: failed(),
    tally: FIRST,
    expected: { event: "REQUEUE", outcome: "FAILED", charged: true, delayMs: 1_000 },
  },
  {
    what: "the second failure waits twice as long",
    ending: failed(),
    tally: { attempts: 2, charged: 1 },
    expected: { event: "REQUEUE", delayMs: 2_000 },
  },
  {
    what: "the third failure is the last",
    ending: failed(),
    tally: { attempts: 3, charged: 2 },
    expected: { event: "FAIL", outcome: "FAILED", delayMs: 0, failure: { reason: "AGENT_ERROR" } },
  },
  {
    what: "a delay never exceeds the maximum",
    ending: failed(),
    tally: { attempts: 9, charged: 8 },
    retry: { maxAttempts: 100, maxDelayMs: 5_000 },
    expected: { event: "REQUEUE", delayMs: 5_000 },
  },
  {
    what: "a failure that the agent calls final is not retried and does not feed the breaker",
    ending: failed("BAD_INPUT", false),
    tally: FIRST,
    expected: { event: "FAIL", verdict: "NEUTRAL", reported: true },
  },
  {
    what: "a reason of the policy is not retried",
    ending: failed("QUOTA"),
    tally: FIRST,
    retry: { nonRetryableReasons: ["QUOTA"] },
    expected: { event: "FAIL", failure: { reason: "QUOTA" } },
  },
  {
    what: "a deadline costs an attempt",
    ending: { kind: "DEADLINE", reason: "DEADLINE_EXCEEDED", message: "took too long" },
    tally: FIRST,
    expected: {
      event: "REQUEUE",
      charged: true,
      word: "",
      verdict: "FAILURE",
      failure: { reason: "DEADLINE_EXCEEDED" },
    },
  },
  {
    what: "a deadline on the last attempt fails the task",
    ending: { kind: "DEADLINE", reason: "DEADLINE_EXCEEDED", message: "took too long" },
    tally: { attempts: 3, charged: 2 },
    expected: { event: "FAIL", failure: { reason: "DEADLINE_EXCEEDED" } },
  },
  {
    what: "silence costs an attempt, for a reason of its own",
    ending: { kind: "DEADLINE", reason: "HEARTBEAT_TIMEOUT", message: "silent" },
    tally: FIRST,
    expected: {
      event: "REQUEUE",
      outcome: "FAILED",
      charged: true,
      verdict: "FAILURE",
      failure: { reason: "HEARTBEAT_TIMEOUT" },
    },
  },
  {
    what: "the end of the task's whole time cancels the attempt, whatever attempts are left",
    ending: { kind: "CLOSED", message: "over" },
    tally: FIRST,
    expected: {
      event: "FAIL",
      outcome: "CANCELLED",
      charged: true,
      verdict: "NEUTRAL",
      reported: false,
      failure: { reason: "SCHEDULE_TO_CLOSE" },
    },
  },
  {
    what: "a reason that is never retried is final even when the agent would have it retried",
    ending: failed("INPUT_INVALID"),
    tally: FIRST,
    expected: { event: "FAIL", failure: { reason: "INPUT_INVALID" } },
  },
  {
    what: "a lost agent costs nothing and the task is ready at once",
    ending: { kind: "LOST", message: "session lost", agentsDoing: true },
    tally: { attempts: 3, charged: 2 },
    expected: {
      event: "REQUEUE",
      outcome: "LOST",
      charged: false,
      delayMs: 0,
      verdict: "NEUTRAL",
      reported: true,
      failure: { reason: "AGENT_LOST" },
    },
  },
  {
    what: "the loss of a router is not reported against the agent",
    ending: { kind: "LOST", message: "router away", agentsDoing: false },
    tally: FIRST,
    expected: { event: "REQUEUE", reported: false },
  },
  {
    what: "further losses wait longer",
    ending: { kind: "LOST", message: "session lost", agentsDoing: true },
    tally: { attempts: 4, charged: 0, losses: 3 },
    retry: { maxLosses: 5 },
    expected: { event: "REQUEUE", delayMs: 200, loss: true, failure: { reason: "AGENT_LOST" } },
  },
  {
    what: "the third agent that is lost with the task ends it",
    ending: { kind: "LOST", message: "session lost", agentsDoing: true },
    tally: { attempts: 4, charged: 1, losses: 2 },
    expected: {
      event: "FAIL",
      outcome: "LOST",
      charged: false,
      loss: true,
      reported: true,
      failure: {
        reason: "MAX_LOSSES",
        message: "session lost (3 agents were lost with this task in hand)",
      },
    },
  },
  {
    what: "the policy says how many agents a task may take along",
    ending: { kind: "LOST", message: "session lost", agentsDoing: true },
    tally: FIRST,
    retry: { maxLosses: 1 },
    expected: { event: "FAIL", failure: { reason: "MAX_LOSSES" } },
  },
  {
    what: "what was lost by no agent's doing is none of the losses",
    ending: { kind: "LOST", message: "session lost", agentsDoing: true },
    tally: { attempts: 9, charged: 0, losses: 1 },
    expected: { event: "REQUEUE", loss: true },
  },
  {
    what: "a router that is away is not counted as a loss",
    ending: { kind: "LOST", message: "router away", agentsDoing: false },
    tally: { attempts: 3, charged: 0, losses: 2 },
    retry: { maxLosses: 3 },
    expected: { event: "REQUEUE", failure: { reason: "AGENT_LOST" } },
  },
  {
    what: "the tenth attempt that is lost by no agent's doing gives the task up",
    ending: { kind: "LOST", message: "router away", agentsDoing: false },
    tally: { attempts: 14, charged: 2, losses: 2 },
    expected: { event: "FAIL", outcome: "LOST", failure: { reason: "AGENT_LOST" } },
  },
  {
    what: "a refusal costs nothing",
    ending: { kind: "REFUSED", message: "NO_SESSION" },
    tally: FIRST,
    expected: {
      event: "REQUEUE",
      outcome: "LOST",
      charged: false,
      failure: { reason: "ASSIGNMENT_REFUSED" },
    },
  },
  {
    what: "a release costs nothing",
    ending: { kind: "RELEASED", message: "draining" },
    tally: FIRST,
    expected: {
      event: "REQUEUE",
      outcome: "RELEASED",
      word: "RELEASED",
      charged: false,
      failure: { reason: "AGENT_RELEASED" },
    },
  },
  {
    what: "a rejected plan is never retried",
    ending: { kind: "REJECTED", reason: "PLAN_REJECTED", message: "cycle", word: "COMPLETED" },
    tally: FIRST,
    expected: { event: "FAIL", outcome: "FAILED", charged: true, word: "COMPLETED" },
  },
  {
    what: "a slot that went to another replica's task costs nothing and names nobody",
    ending: { kind: "CROWDED", message: "no slot" },
    tally: { attempts: 40, charged: 0, crowded: 39 },
    expected: { event: "REQUEUE", charged: false, reported: false, verdict: "NEUTRAL" },
  },
  {
    what: "attempts that found no slot do not count towards those that were lost",
    ending: { kind: "LOST", message: "gone", agentsDoing: true },
    tally: { attempts: 40, charged: 0, crowded: 39 },
    expected: { event: "REQUEUE", charged: false },
  },
];

describe("settle", () => {
  for (const { what, ending, tally, retry, expected } of CASES) {
    it(what, () => {
      expect(settle(ending, tally, policy(retry))).toMatchObject(expected);
    });
  }

  it("counts as a loss only what the agent did", () => {
    const lossOf = (agentsDoing: boolean) =>
      settle({ kind: "LOST", message: "gone", agentsDoing }, FIRST, policy()).loss;
    expect([lossOf(true), lossOf(false)]).toEqual([true, undefined]);
  });

  it("counts as without a slot only what the router said, whatever agents call their failures", () => {
    const crowded: Ending = { kind: "CROWDED", message: "no slot" };
    expect(settle(crowded, FIRST, policy()).crowded).toBe(true);
    const named = { ...failed(), reason: "NO_SLOT" } as Ending;
    expect(settle(named, FIRST, policy()).crowded).toBeUndefined();
  });

  it("shortens a retry delay by at most a tenth", () => {
    expect(settle(failed(), FIRST, policy({}, 1)).delayMs).toBe(900);
  });

  it("stores no NUL character and no endless message", () => {
    const ending: Ending = { ...failed(), message: `a\u0000${"b".repeat(10_000)}` } as Ending;
    const message = settle(ending, FIRST, policy()).failure?.message ?? "";
    expect(message.startsWith("a\ufffdb")).toBe(true);
    expect(message).toHaveLength(4_096);
  });
});

describe("the wait before the next attempt", () => {
  const waitOf = (retry: Partial<RetryPolicy>, random: number) =>
    settle(failed(), FIRST, policy({ initialDelayMs: 1_000, ...retry }, random)).delayMs;

  it("is a tenth chance unless the policy says otherwise", () => {
    expect(waitOf({}, 0)).toBe(1_000);
    expect(waitOf({}, 1)).toBe(900);
    expect(waitOf({ jitter: 0 }, 1)).toBe(1_000);
    expect(waitOf({ jitter: 0.5 }, 1)).toBe(500);
    expect(waitOf({ jitter: 1 }, 1)).toBe(0);
  });
});
