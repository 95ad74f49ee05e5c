/** Tasks and agents for unit tests of the engine. */
import { DEFAULT_BREAKER } from "../domain/breaker.ts";
import type { LiveTask } from "../domain/live-task.ts";
import type { Skill } from "../domain/routing.ts";
import { DEFAULT_RETRY, type StoredTaskSpec } from "../domain/task.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import { Fleet } from "./fleet.ts";

let made = 0;

/** Makes a waiting task of capability `x`. */
export function fakeTask(
  changes: Partial<LiveTask> = {},
  spec: Partial<StoredTaskSpec> = {},
): LiveTask {
  made += 1;
  return {
    taskId: `task_${made.toString(16).padStart(32, "0")}`,
    jobId: "job_1",
    namespace: "default",
    key: `t${made}`,
    priority: 0,
    planning: false,
    sink: true,
    hasUpstream: false,
    attempts: 0,
    charged: 0,
    readyAtMs: 0,
    avoidAgentId: "",
    preferAgentId: "",
    traceparent: "",
    ...changes,
    spec: {
      key: `t${made}`,
      capability: "x",
      versionRange: "",
      dependencies: [],
      requiredLabels: {},
      preferredLabels: {},
      priority: 0,
      retry: DEFAULT_RETRY,
      startToCloseMs: 1_000,
      scheduleToStartMs: 1_000,
      ...spec,
    },
  };
}

/** Makes a fleet without chance. */
export function fakeFleet(options: { bulkhead?: number; random?: () => number } = {}): Fleet {
  return new Fleet({ bulkhead: 20, random: () => 0, breaker: DEFAULT_BREAKER, ...options });
}

/** A skill at its plainest. */
export const SKILL: Skill = {
  versions: ["1.0.0"],
  costMicros: 0,
  latencyMs: undefined,
  lowerBound: 0.5,
  evidence: 1,
};

/** Adds a connected agent with capability `x`. */
export function addAgent(
  fleet: Fleet,
  agentId: string,
  options: { slots?: number; labels?: Record<string, string>; skills?: string[]; ns?: string } = {},
): AgentEntry {
  const namespace = options.ns ?? "default";
  const names = options.skills ?? ["x"];
  const entry = fleet.setProfile({
    namespace,
    agentId,
    labels: options.labels ?? {},
    region: "",
    skills: new Map(names.map((name) => [name, SKILL])),
  });
  entry.session = { epoch: 1n, state: "CONNECTED", slots: options.slots ?? 1, router: "r" };
  fleet.refresh(entry);
  return entry;
}

/** Makes a live lease of an agent. */
export function fakeLease(agent: AgentEntry, epoch: bigint): LiveLease {
  made += 1;
  return {
    lease: {
      task: fakeTask(),
      fence: BigInt(made),
      attempt: 1,
      agentId: agent.agentId,
      agentEpoch: epoch,
      capabilityVersion: "1.0.0",
      fallbackAgentId: "",
      leasedAtMs: 0,
      running: false,
    },
    agent,
    accepted: false,
    acceptedAtMs: undefined,
    heardAtMs: 0,
    deadlineAtMs: 1_000,
    progress: 0,
    done: false,
    sent: true,
    readySinceMs: 0,
  };
}
