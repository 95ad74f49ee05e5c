/** Agents between the contract and the domain. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type AgentSchema,
  type CapabilitySchema,
  type ReputationSchema,
  type Capability as WireCapability,
  AgentState as WireState,
} from "@nexus/proto/registry";
import {
  type Agent,
  type AgentState,
  busySlotsOf,
  type Capability,
  expiresAtMsOf,
  type Reputation,
  stateOf,
} from "../domain/agent.ts";
import { standingAt, standingOf } from "../domain/reputation.ts";
import { fromDurationUs, toDurationUs, toTimestamp } from "./convert-time.ts";

/** What turning a reputation into numbers needs: the moment to decay to, and how fast evidence decays. */
export interface ReputationClock {
  readonly nowMs: number;
  readonly halfLifeMs: number;
}

const STATE_TO_WIRE: Readonly<Record<AgentState, WireState>> = {
  ONLINE: WireState.ONLINE,
  BUSY: WireState.BUSY,
  DRAINING: WireState.DRAINING,
  OFFLINE: WireState.OFFLINE,
  LOST: WireState.LOST,
};

const STATE_FROM_WIRE: Readonly<Record<WireState, AgentState | undefined>> = {
  [WireState.UNSPECIFIED]: undefined,
  [WireState.ONLINE]: "ONLINE",
  [WireState.BUSY]: "BUSY",
  [WireState.DRAINING]: "DRAINING",
  [WireState.OFFLINE]: "OFFLINE",
  [WireState.LOST]: "LOST",
};

/** Reads states; the unspecified one names none. */
export function fromStates(states: readonly WireState[]): AgentState[] {
  return states.flatMap((state) => STATE_FROM_WIRE[state] ?? []);
}

/** Reads a state that the contract requires. */
export function fromState(state: WireState): AgentState {
  return STATE_FROM_WIRE[state] ?? "OFFLINE";
}

/** Reads capabilities. */
export function fromCapabilities(capabilities: readonly WireCapability[]): Capability[] {
  return capabilities.map((capability) => ({
    name: capability.name,
    version: capability.version,
    description: capability.description,
    inputSchema: capability.inputSchema,
    outputSchema: capability.outputSchema,
    tags: capability.tags,
    costMicros: capability.costMicros,
    latencyHintUs: fromDurationUs(capability.latencyHint),
  }));
}

/** Writes a capability. */
export function toCapability(capability: Capability): MessageInitShape<typeof CapabilitySchema> {
  const { latencyHintUs, tags, ...rest } = capability;
  const hint = latencyHintUs === undefined ? {} : { latencyHint: toDurationUs(latencyHintUs) };
  return { ...rest, tags: [...tags], ...hint };
}

/** Writes an agent, with its reputations as of now, best first; a capability without an outcome has the one that it was born with. */
export function toAgent(
  agent: Agent,
  clock: ReputationClock,
): MessageInitShape<typeof AgentSchema> {
  const { record, presence } = agent;
  return {
    namespace: record.namespace,
    agentId: record.agentId,
    displayName: record.displayName,
    capabilities: record.capabilities.map(toCapability),
    labels: record.labels,
    region: record.region,
    slots: record.slots,
    state: STATE_TO_WIRE[stateOf(agent)],
    busySlots: busySlotsOf(agent),
    reputations: toReputations(agent, clock),
    registerTime: toTimestamp(record.registeredAtMs),
    updateTime: toTimestamp(record.updatedAtMs),
    ...(presence === undefined ? {} : { lastSeenTime: toTimestamp(presence.seenAtMs) }),
    expireTime: toTimestamp(expiresAtMsOf(agent)),
    revision: BigInt(record.revision),
  };
}

const US_PER_MS = 1_000;

function toReputations({ record, reputations }: Agent, clock: ReputationClock) {
  const judged = new Set(reputations.map(({ capability }) => capability));
  const offered = new Set(record.capabilities.map(({ name }) => name));
  const unjudged = [...offered].filter((name) => !judged.has(name));
  return [
    ...reputations.map((reputation) => toReputation(reputation, clock)),
    ...unjudged.map((capability) => ({ capability, ...standingOf(0, 0) })),
  ].sort((a, b) => b.lowerBound - a.lowerBound);
}

function toReputation(reputation: Reputation, { nowMs, halfLifeMs }: ReputationClock) {
  const { meanLatencyMs } = reputation;
  return {
    capability: reputation.capability,
    ...standingAt(reputation, nowMs, halfLifeMs),
    succeeded: BigInt(reputation.succeeded),
    failed: BigInt(reputation.failed),
    ...(meanLatencyMs === undefined
      ? {}
      : { meanLatency: toDurationUs(meanLatencyMs * US_PER_MS) }),
    updateTime: toTimestamp(reputation.updatedAtMs),
    lastCause: reputation.lastCause,
  } satisfies MessageInitShape<typeof ReputationSchema>;
}
