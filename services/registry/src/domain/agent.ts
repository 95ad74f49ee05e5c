/** What the registry knows of an agent: the record it registered, where its session stands, and how it did. */

/** Whether an agent can take work; see the contract's AgentState. */
export type AgentState = "ONLINE" | "BUSY" | "DRAINING" | "OFFLINE" | "LOST";

/** Every state, in the contract's order. */
export const AGENT_STATES: readonly AgentState[] = [
  "ONLINE",
  "BUSY",
  "DRAINING",
  "OFFLINE",
  "LOST",
];

/** States of an agent whose session is open. Presence has to be renewed in these only. */
export const LIVE_STATES: readonly AgentState[] = ["ONLINE", "BUSY", "DRAINING"];

/** Names one agent. */
export interface AgentKey {
  readonly namespace: string;
  readonly agentId: string;
}

/** One thing an agent can do, as registered. Immutable. */
export interface Capability {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  /** JSON Schema as text; empty means anything. */
  readonly inputSchema: string;
  readonly outputSchema: string;
  readonly tags: readonly string[];
  readonly costMicros: bigint;
  readonly latencyHintUs: number | undefined;
}

/** What a caller chooses when it registers an agent. */
export interface AgentContent {
  readonly displayName: string;
  readonly capabilities: readonly Capability[];
  readonly labels: Readonly<Record<string, string>>;
  readonly region: string;
  readonly slots: number;
  readonly ttlMs: number;
}

/** A stored record. Replaced, never changed in place. */
export interface AgentRecord extends AgentKey, AgentContent {
  /** Grows with every change of the content. */
  readonly revision: number;
  readonly registeredAtMs: number;
  readonly updatedAtMs: number;
  /** Ends the record unless the agent was seen later than this less the ttl. */
  readonly expiresAtMs: number;
}

/** What a router last said of an agent's session. */
export interface Presence {
  readonly epoch: bigint;
  readonly state: AgentState;
  readonly slots: number;
  readonly busySlots: number;
  readonly seenAtMs: number;
}

/** Evidence about one capability of one agent. Weights are as of updatedAtMs. */
export interface Reputation {
  readonly capability: string;
  readonly successWeight: number;
  readonly failureWeight: number;
  /** Outcomes ever counted, undecayed. */
  readonly succeeded: number;
  readonly failed: number;
  readonly meanLatencyMs: number | undefined;
  readonly lastCause: string;
  readonly updatedAtMs: number;
}

/** Everything about one agent. Replaced, never changed in place, so that a snapshot may hold on to it. */
export interface Agent {
  readonly record: AgentRecord;
  /** Absent when the agent never connected. */
  readonly presence: Presence | undefined;
  readonly reputations: readonly Reputation[];
}

/** The agent's state: what its session said, OFFLINE when there never was one. */
export function stateOf(agent: Agent): AgentState {
  return agent.presence?.state ?? "OFFLINE";
}

/** Says whether the agent's session is open. */
export function isLive(agent: Agent): boolean {
  return LIVE_STATES.includes(stateOf(agent));
}

/** Slots in use; 0 without an open session. */
export function busySlotsOf(agent: Agent): number {
  return isLive(agent) ? (agent.presence?.busySlots ?? 0) : 0;
}

/** Slots that could take a task now: what the session grants, at most what is registered, less what is busy. A draining
 * agent takes nothing new. */
export function freeSlotsOf(agent: Agent): number {
  const { presence, record } = agent;
  if (presence === undefined || !isLive(agent) || presence.state === "DRAINING") return 0;
  return Math.max(0, Math.min(presence.slots, record.slots) - presence.busySlots);
}

/** When the record ends unless there is another sign of life. */
export function expiresAtMsOf(agent: Agent): number {
  const { presence, record } = agent;
  if (presence === undefined) return record.expiresAtMs;
  return Math.max(record.expiresAtMs, presence.seenAtMs + record.ttlMs);
}

/** Joins namespace and id to one map key. The separator occurs in neither. */
export function keyText(key: AgentKey): string {
  return `${key.namespace}\n${key.agentId}`;
}
