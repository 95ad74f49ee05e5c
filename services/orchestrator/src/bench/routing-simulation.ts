/** Runs a policy over a skewed fleet in simulated time: the engine's own queue, fleet, breakers and retries, without a
 * database, a clock or a network. The same seed gives the same result to the last digit. */
import { DEFAULT_BREAKER } from "../domain/breaker.ts";
import type { LiveTask } from "../domain/live-task.ts";
import { type Ending, settle } from "../domain/settlement.ts";
import { DEFAULT_RETRY } from "../domain/task.ts";
import type { AgentEntry, LiveLease } from "../engine/agent-entry.ts";
import { Fleet } from "../engine/fleet.ts";
import { Heap } from "../engine/heap.ts";
import { laneKey, needOf, ReadyQueue } from "../engine/ready-queue.ts";
import { createPolicy, type Policy, type PolicyName } from "./routing-policies.ts";
import { createDraws, draw, toNormal } from "./seeded-random.ts";
import {
  CAPABILITY,
  connectAll,
  LearntReputations,
  NAMESPACE,
  SKEWED_AGENTS,
  type TrueAgent,
} from "./skewed-fleet.ts";

/** What is simulated. */
export interface SimulationOptions {
  readonly seed: number;
  readonly tasks: number;
  /** Tasks that arrive in a second, at random moments. */
  readonly tasksPerSecond: number;
}

/** How a policy did. */
export interface SimulationResult {
  /** Share of the tasks that succeeded within their attempts. */
  readonly successShare: number;
  /** Share of the first attempts that succeeded. */
  readonly firstTryShare: number;
  /** From the arrival of a task to its success, simulated milliseconds. */
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** The defaults of the orchestrator's configuration. */
const BULKHEAD = 20;
const EXPLORATION_SHARE = 0.02;
/** Outcomes travel to the registry and back in batches. */
const PUBLISH_INTERVAL_MS = 500;
/** Spread of run times around their median. */
const RUN_TIME_SIGMA = 0.5;
const ARRIVALS = 1;
const LUCK = 2;
const RUN_TIMES = 3;
const CHANCE = 4;

interface Happening {
  readonly atMs: number;
  /** Settles the order of what happens at one moment. */
  readonly order: number;
  readonly run: () => void;
}

/** Simulates one policy from the first arrival to the last end. */
export function simulateRouting(name: PolicyName, options: SimulationOptions): SimulationResult {
  const simulation = new Simulation(name, options);
  simulation.run();
  return simulation.result();
}

/** Owns the simulated time and everything in it. */
class Simulation {
  readonly #options: SimulationOptions;
  readonly #policy: Policy;
  readonly #random: () => number;
  readonly #fleet: Fleet;
  readonly #queue = new ReadyQueue();
  readonly #reputations: LearntReputations;
  readonly #truth = new Map<string, TrueAgent>(SKEWED_AGENTS.map((one) => [one.agentId, one]));
  readonly #agenda = new Heap<Happening>((a, b) =>
    a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs,
  );
  readonly #arrivedAtMs: number[] = [];
  readonly #waitsMs: number[] = [];
  #nowMs = 0;
  #happenings = 0;
  #assignments = 0;
  #firstTries = 0;
  #open: number;

  constructor(name: PolicyName, options: SimulationOptions) {
    this.#options = options;
    this.#open = options.tasks;
    this.#random = createDraws(draw(options.seed, CHANCE) * 2 ** 31);
    this.#fleet = new Fleet({
      bulkhead: BULKHEAD,
      breaker: DEFAULT_BREAKER,
      random: this.#random,
    });
    this.#policy = createPolicy(name, {
      bulkhead: BULKHEAD,
      explorationShare: EXPLORATION_SHARE,
      random: this.#random,
    });
    this.#reputations = new LearntReputations(this.#fleet);
    this.#reputations.publish();
    connectAll(this.#fleet);
  }

  run(): void {
    let atMs = 0;
    for (let index = 0; index < this.#options.tasks; index += 1) {
      const meanMs = 1_000 / this.#options.tasksPerSecond;
      atMs -= Math.log(1 - draw(this.#options.seed, ARRIVALS, index)) * meanMs;
      this.#arrivedAtMs.push(atMs);
      this.#plan(atMs, () => this.#queue.add(newTask(index), this.#nowMs));
    }
    this.#publishLater();
    for (let next = this.#agenda.pop(); next !== undefined; next = this.#agenda.pop()) {
      this.#nowMs = next.atMs;
      next.run();
      this.#assignAll();
    }
  }

  result(): SimulationResult {
    const { tasks } = this.#options;
    const sorted = this.#waitsMs.sort((a, b) => a - b);
    return {
      successShare: sorted.length / tasks,
      firstTryShare: this.#firstTries / tasks,
      p50Ms: nearestRank(sorted, 0.5),
      p95Ms: nearestRank(sorted, 0.95),
    };
  }

  #plan(atMs: number, run: () => void): void {
    this.#happenings += 1;
    this.#agenda.push({ atMs, order: this.#happenings, run });
  }

  /** Goes on for as long as there is anything to learn. */
  #publishLater(): void {
    if (this.#open === 0) return;
    this.#plan(this.#nowMs + PUBLISH_INTERVAL_MS, () => {
      this.#reputations.publish();
      this.#publishLater();
    });
  }

  #assignAll(): void {
    this.#queue.releaseDue(this.#nowMs);
    const key = laneKey(NAMESPACE, CAPABILITY);
    for (let lane = this.#queue.lane(key); lane !== undefined; lane = this.#queue.lane(key)) {
      const best = this.#queue.best(lane);
      if (best === undefined || !this.#fleet.hasOpen(key) || !this.#assign(best.task)) return;
    }
  }

  #assign(task: LiveTask): boolean {
    const need = needOf(this.#policy.learns ? task : { ...task, avoidAgentId: "" });
    const { eligible } = this.#fleet.findCandidates(NAMESPACE, need, this.#nowMs);
    const agent = this.#policy.pick(eligible, need);
    if (agent === undefined) return false;
    this.#queue.take(task.taskId);
    this.#assignments += 1;
    agent.lastAssigned = this.#assignments;
    if (this.#policy.learns) agent.breaker(CAPABILITY).onAssigned(task.taskId, this.#nowMs);
    agent.addLease(leaseOf(task, agent, this.#nowMs));
    this.#fleet.refresh(agent);
    this.#begin(task, agent);
    return true;
  }

  #begin(task: LiveTask, agent: AgentEntry): void {
    const truth = this.#truth.get(agent.agentId) as TrueAgent;
    const { seed } = this.#options;
    const index = indexOf(task);
    const luck = (kind: number, part: number) => draw(seed, kind, index, task.attempts, part);
    const spread = RUN_TIME_SIGMA * toNormal(luck(RUN_TIMES, 1), luck(RUN_TIMES, 2));
    const runTimeMs = truth.medianMs * Math.exp(spread);
    const success = luck(LUCK, 0) < truth.successRate;
    this.#plan(this.#nowMs + runTimeMs, () => this.#end({ task, agent, success, runTimeMs }));
  }

  #end(attempt: { task: LiveTask; agent: AgentEntry; success: boolean; runTimeMs: number }): void {
    const { task, agent, success, runTimeMs } = attempt;
    agent.removeLease(task.taskId);
    this.#reputations.observe(agent.agentId, success, runTimeMs);
    const { event, verdict, delayMs } = settle(success ? DONE : FAILED, task, {
      retry: task.spec.retry,
      uncostedAttemptsMax: 1,
      random: this.#random,
    });
    if (this.#policy.learns) agent.breaker(CAPABILITY).onOutcome(task.taskId, verdict, this.#nowMs);
    this.#fleet.refresh(agent);
    if (event === "REQUEUE") {
      const attempts = task.attempts + 1;
      const next = { ...task, attempts, charged: attempts, avoidAgentId: agent.agentId };
      this.#queue.addDelayed(next, this.#nowMs + delayMs);
      this.#plan(this.#nowMs + delayMs, () => undefined);
      return;
    }
    this.#open -= 1;
    if (!success) return;
    if (task.attempts === 0) this.#firstTries += 1;
    this.#waitsMs.push(this.#nowMs - (this.#arrivedAtMs[indexOf(task)] as number));
  }
}

const DONE: Ending = {
  kind: "COMPLETED",
  output: { contentType: "text/plain", data: new Uint8Array() },
};
const FAILED: Ending = { kind: "FAILED", reason: "AGENT_ERROR", message: "", retryable: true };

function newTask(index: number): LiveTask {
  return {
    taskId: String(index).padStart(9, "0"),
    jobId: "job",
    namespace: NAMESPACE,
    key: String(index),
    spec: {
      capability: CAPABILITY,
      versionRange: "",
      requiredLabels: {},
      preferredLabels: {},
      priority: 0,
      retry: DEFAULT_RETRY,
      startToCloseMs: 1,
      scheduleToStartMs: 1,
    },
    priority: 0,
    planning: false,
    sink: true,
    hasUpstream: false,
    attempts: 0,
    charged: 0,
    readyAtMs: index,
    avoidAgentId: "",
    preferAgentId: "",
    traceparent: "",
  };
}

function indexOf(task: LiveTask): number {
  return Number(task.key);
}

function leaseOf(task: LiveTask, agent: AgentEntry, nowMs: number): LiveLease {
  return {
    lease: {
      task,
      fence: 1n,
      attempt: task.attempts + 1,
      agentId: agent.agentId,
      agentEpoch: 1n,
      capabilityVersion: "1.0.0",
      fallbackAgentId: "",
      leasedAtMs: nowMs,
      running: true,
    },
    agent,
    accepted: true,
    heardAtMs: nowMs,
    deadlineAtMs: Number.POSITIVE_INFINITY,
    acceptedAtMs: nowMs,
    progress: 0,
    done: false,
    sent: true,
    readySinceMs: nowMs,
  };
}

function nearestRank(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
