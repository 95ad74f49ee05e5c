/** What the end of an attempt means for its task: another attempt, or the end of the task. */
import { backoffDelayMs, TASK_FAILURE_REASONS } from "@nexus/shared";
import { FAILURE_MESSAGE_MAX_CHARS } from "./limits.ts";
import {
  type AttemptOutcome,
  DEFAULT_MAX_LOSSES,
  type Failure,
  type Payload,
  type RetryPolicy,
} from "./task.ts";

/** How an attempt ended. */
export type Ending =
  /** The agent's own words. */
  | { readonly kind: "COMPLETED"; readonly output: Payload }
  | {
      readonly kind: "FAILED";
      readonly reason: string;
      readonly message: string;
      readonly retryable: boolean;
    }
  | { readonly kind: "RELEASED"; readonly message: string }
  /** The session ended, said goodbye, or was not seen again in time. `agentsDoing`: it broke while the platform held. */
  | { readonly kind: "LOST"; readonly message: string; readonly agentsDoing: boolean }
  /** The assignment never reached the agent. */
  | { readonly kind: "REFUSED"; readonly message: string }
  /** The slot that it was meant for went to another replica's task. */
  | { readonly kind: "CROWDED"; readonly message: string }
  /** The attempt took longer than start_to_close, or its agent was silent for longer than heartbeat. */
  | {
      readonly kind: "DEADLINE";
      readonly reason: "DEADLINE_EXCEEDED" | "HEARTBEAT_TIMEOUT";
      readonly message: string;
    }
  /** The task took longer than schedule_to_close, over all of its attempts. */
  | { readonly kind: "CLOSED"; readonly message: string }
  /** The orchestrator itself gives the task up: a bad plan, an output or input that is too large. */
  | {
      readonly kind: "REJECTED";
      readonly reason: string;
      readonly message: string;
      /** The agent's word that led to it, which a repeat of the same word is compared with. */
      readonly word: AgentWord;
    };

/** The terminal word of an agent that ended an attempt; empty when no word did. */
export type AgentWord = "COMPLETED" | "FAILED" | "RELEASED" | "";

/** What an ending does to the task. */
export interface Settlement {
  /** SUCCEED says all but the output: outcome SUCCEEDED by the word COMPLETED, charged, and no failure. */
  readonly event: "SUCCEED" | "REQUEUE" | "FAIL";
  readonly outcome: AttemptOutcome;
  readonly word: AgentWord;
  readonly charged: boolean;
  /** The agent went down with the task in hand: it counts towards the losses that the policy allows. Left out: false. */
  readonly loss?: true;
  /** It found no slot, which counts towards nothing. Left out: false. */
  readonly crowded?: true;
  readonly failure: Failure | undefined;
  /** Of SUCCEED alone. */
  readonly output: Payload | undefined;
  /** Milliseconds until the next attempt may begin; 0 unless REQUEUE. */
  readonly delayMs: number;
  /** What the circuit breaker of the agent and capability learns; neutral when it was not the agent's doing. */
  readonly verdict: "SUCCESS" | "FAILURE" | "NEUTRAL";
  /** Whether registry and insight hear of it: only attempts that say something about the agent. */
  readonly reported: boolean;
}

/** Where a task stands when an attempt of it ends. `attempts` includes that attempt, the others do not. `crowded` of them
 * found no slot, and are nobody's fault; `losses` of them took their agents along. */
export interface AttemptTally {
  readonly attempts: number;
  readonly charged: number;
  readonly crowded?: number | undefined;
  readonly losses?: number | undefined;
}

/** What settle decides with. */
export interface SettlementPolicy {
  readonly retry: RetryPolicy;
  /** Most attempts that may be refused, released or lost by no agent's doing before the task is given up. */
  readonly uncostedAttemptsMax: number;
  readonly random: () => number;
}

/** How much of a retry delay is random when the policy does not say. */
export const RETRY_JITTER = 0.1;
/** Attempts that cost nothing come back at once, then slower: a fleet that refuses everything is not hammered. */
const UNCOSTED_BACKOFF = { initialMs: 50, multiplier: 2, maxMs: 5_000, jitter: RETRY_JITTER };

/** By then the router has reported how many slots there are for this replica. */
const CROWDED_BACKOFF = { initialMs: 20, multiplier: 2, maxMs: 1_000, jitter: 0.5 };
/** Reasons of the project that no policy retries, whoever says them. */
const NEVER_RETRIED: ReadonlySet<string> = new Set(
  Object.entries(TASK_FAILURE_REASONS)
    .filter(([, { retry }]) => retry === "never")
    .map(([reason]) => reason),
);

/** Decides what an ending does to its task. Pure but for the injected random. */
export function settle(ending: Ending, tally: AttemptTally, policy: SettlementPolicy): Settlement {
  switch (ending.kind) {
    case "COMPLETED":
      return {
        event: "SUCCEED",
        outcome: "SUCCEEDED",
        word: "COMPLETED",
        charged: true,
        failure: undefined,
        output: ending.output,
        delayMs: 0,
        verdict: "SUCCESS",
        reported: true,
      };
    case "FAILED":
      return settleFailure(ending, tally, policy);
    case "DEADLINE":
      return {
        ...settleFailure(
          { reason: ending.reason, message: ending.message, retryable: true },
          tally,
          policy,
        ),
        word: "",
      };
    case "CLOSED":
      return { ...giveUp("SCHEDULE_TO_CLOSE", ending.message, "CANCELLED"), charged: true };
    case "REJECTED":
      return {
        ...giveUp(ending.reason, ending.message, "FAILED"),
        word: ending.word,
        charged: true,
        reported: ending.word !== "",
      };
    case "RELEASED":
      return {
        ...settleUncosted("AGENT_RELEASED", ending.message, { tally, policy }),
        outcome: "RELEASED",
        word: "RELEASED",
      };
    case "REFUSED":
      return settleUncosted("ASSIGNMENT_REFUSED", ending.message, { tally, policy });
    case "CROWDED":
      return settleCrowded(ending.message, tally, policy);
    case "LOST":
      return ending.agentsDoing
        ? settleLoss(ending.message, tally, policy)
        : settleUncosted("AGENT_LOST", ending.message, { tally, policy });
  }
}

function settleFailure(
  failed: { reason: string; message: string; retryable: boolean },
  tally: AttemptTally,
  { retry, random }: SettlementPolicy,
): Settlement {
  const charged = tally.charged + 1;
  const final =
    !failed.retryable ||
    charged >= retry.maxAttempts ||
    retry.nonRetryableReasons.includes(failed.reason) ||
    NEVER_RETRIED.has(failed.reason);
  const backoff = {
    initialMs: retry.initialDelayMs,
    multiplier: retry.multiplier,
    maxMs: retry.maxDelayMs,
    jitter: retry.jitter ?? RETRY_JITTER,
  };
  return {
    event: final ? "FAIL" : "REQUEUE",
    outcome: "FAILED",
    word: "FAILED",
    charged: true,
    failure: toFailure(failed.reason, failed.message),
    output: undefined,
    delayMs: final ? 0 : Math.round(backoffDelayMs(charged, backoff, random)),
    // A failure that the agent calls final is about the task's input more often than about the agent.
    verdict: failed.retryable ? "FAILURE" : "NEUTRAL",
    reported: true,
  };
}

/** The agent is gone, and the task may be why. It costs no attempt, as most are blameless, but a task that goes on to the next
 * agent each time takes the fleet down one by one. */
function settleLoss(message: string, tally: AttemptTally, policy: SettlementPolicy): Settlement {
  const losses = (tally.losses ?? 0) + 1;
  const { maxLosses = DEFAULT_MAX_LOSSES } = policy.retry;
  const agents = losses === 1 ? "1 agent was" : `${losses} agents were`;
  const settlement =
    losses >= maxLosses
      ? giveUp("MAX_LOSSES", `${message} (${agents} lost with this task in hand)`, "LOST")
      : requeueUncosted("AGENT_LOST", message, { tally, policy });
  return { ...settlement, loss: true, reported: true };
}

/** An attempt that was refused, released or lost by no agent's doing: costs nothing, but not for ever. */
function settleUncosted(
  reason: string,
  message: string,
  { tally, policy }: { tally: AttemptTally; policy: SettlementPolicy },
): Settlement {
  const uncosted = uncostedOf(tally) - (tally.losses ?? 0);
  return uncosted >= policy.uncostedAttemptsMax
    ? giveUp(reason, `${message} (given up after ${uncosted} such attempts)`, "LOST")
    : requeueUncosted(reason, message, { tally, policy });
}

function uncostedOf({ attempts, charged, crowded = 0 }: AttemptTally): number {
  return attempts - charged - crowded;
}

function requeueUncosted(
  reason: string,
  message: string,
  { tally, policy }: { tally: AttemptTally; policy: SettlementPolicy },
): Settlement {
  const uncosted = uncostedOf(tally);
  const delayMs =
    uncosted <= 1 ? 0 : Math.round(backoffDelayMs(uncosted - 1, UNCOSTED_BACKOFF, policy.random));
  return {
    event: "REQUEUE",
    outcome: "LOST",
    word: "",
    charged: false,
    failure: toFailure(reason, message),
    output: undefined,
    delayMs,
    verdict: "NEUTRAL",
    reported: false,
  };
}

/** Never given up, and without an agent to avoid: the task goes wherever there is room. */
function settleCrowded(
  message: string,
  { crowded = 0 }: AttemptTally,
  { random }: SettlementPolicy,
): Settlement {
  return {
    event: "REQUEUE",
    outcome: "LOST",
    word: "",
    charged: false,
    failure: toFailure("NO_SLOT", message),
    output: undefined,
    delayMs: Math.round(backoffDelayMs(crowded + 1, CROWDED_BACKOFF, random)),
    verdict: "NEUTRAL",
    reported: false,
    crowded: true,
  };
}

function giveUp(reason: string, message: string, outcome: AttemptOutcome): Settlement {
  return {
    event: "FAIL",
    outcome,
    word: "",
    charged: false,
    failure: toFailure(reason, message),
    output: undefined,
    delayMs: 0,
    verdict: "NEUTRAL",
    reported: false,
  };
}

/** Makes a failure whose text can be stored: bounded, and without the one character that Postgres refuses. */
export function toFailure(reason: string, message: string, taskKey = ""): Failure {
  return {
    reason: toStorableText(reason),
    message: toStorableText(message).slice(0, FAILURE_MESSAGE_MAX_CHARS),
    taskKey,
  };
}

/** Replaces NUL, which no Postgres text can hold: one agent's message must not spoil a whole batch. */
export function toStorableText(text: string): string {
  return text.includes("\u0000") ? text.replaceAll("\u0000", "\ufffd") : text;
}
