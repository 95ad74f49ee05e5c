/** Agents for unit tests: everything has a default, so a test names only what it is about. */
import type { Agent, AgentRecord, Capability, Presence, Reputation } from "./agent.ts";
import { newReputation } from "./reputation.ts";

/** A moment in 2026. */
export const NOW_MS = 1_800_000_000_000;

/** A capability. */
export function fakeCapability(changes: Partial<Capability> = {}): Capability {
  return {
    name: "text.analyse",
    version: "1.0.0",
    description: "",
    inputSchema: "",
    outputSchema: "",
    tags: [],
    costMicros: 0n,
    latencyHintUs: undefined,
    ...changes,
  };
}

/** A session that is online with one free slot. */
export function fakePresence(changes: Partial<Presence> = {}): Presence {
  return { epoch: 1n, state: "ONLINE", slots: 1, busySlots: 0, seenAtMs: NOW_MS, ...changes };
}

/** A reputation with evidence as of NOW_MS. */
export function fakeReputation(changes: Partial<Reputation> = {}): Reputation {
  return { ...newReputation("text.analyse", NOW_MS), ...changes };
}

let revision = 0;

/** An agent that is online. Every one has a revision of its own. */
export function fakeAgent(
  agentId: string,
  changes: Partial<AgentRecord> & {
    readonly presence?: Presence | undefined;
    readonly reputations?: readonly Reputation[];
  } = {},
): Agent {
  const { presence, reputations = [], ...record } = changes;
  revision += 1;
  return {
    record: {
      namespace: "default",
      agentId,
      displayName: "",
      capabilities: [fakeCapability()],
      labels: {},
      region: "",
      slots: 1,
      ttlMs: 86_400_000,
      revision,
      registeredAtMs: NOW_MS,
      updatedAtMs: NOW_MS,
      expiresAtMs: NOW_MS + 86_400_000,
      ...record,
    },
    presence: Object.hasOwn(changes, "presence") ? presence : fakePresence(),
    reputations,
  };
}
