/** AgentRegistry: the records of agents, and who may change them. */
import { NexusError } from "@nexus/shared";
import type { Agent, AgentContent, AgentKey, AgentRecord } from "./agent.ts";
import { type AgentPatch, applyPatch, assertContent, contentHashOf } from "./agent-content.ts";
import { assertSpeaksFor, type Caller } from "./caller.ts";
import type { CapabilityIndex } from "./capability-index.ts";
import type {
  AgentListQuery,
  AgentPage,
  AgentStore,
  RegistryEvents,
  RequestStamp,
  StoredAgent,
} from "./ports.ts";
import { fingerprintOf, type RequestValue } from "./request-fingerprint.ts";

/** Waits until the index has taken in a change, so that a caller finds what it just wrote. */
export interface ChangeSettler {
  /** Resolves when the index is at the revision or further, or after a bounded time: the change is committed either way. */
  settled(revision: number): Promise<void>;
}

/** What createAgentRegistry needs. */
export interface AgentRegistryDeps {
  readonly agents: AgentStore;
  readonly index: CapabilityIndex;
  readonly changes: ChangeSettler;
  readonly events: RegistryEvents;
  /** Most agents in one namespace. Compared with the index, so racing replicas may go over it by a few. */
  readonly agentsPerNamespaceMax: number;
}

/** A change with its request id. */
export interface UpdateCommand {
  readonly requestId: string;
  readonly agentId: string;
  /** 0 means whatever is there. */
  readonly expectedRevision: number;
  readonly patch: AgentPatch;
}

/** The records of agents. */
export interface AgentRegistry {
  /** Errors: forbidden/AGENT_ID_MISMATCH; invalid as assertContent; exhausted/AGENT_LIMIT; those of AgentStore.register. */
  register(
    caller: Caller,
    command: {
      readonly requestId: string;
      readonly agentId: string;
      readonly content: AgentContent;
    },
  ): Promise<Agent>;
  /** Errors: not_found/AGENT_NOT_FOUND. */
  get(key: AgentKey): Promise<Agent>;
  list(query: AgentListQuery): Promise<AgentPage>;
  /** Errors: forbidden/AGENT_ID_MISMATCH; conflict/REVISION_CONFLICT; invalid as assertContent; those of AgentStore.update. */
  update(caller: Caller, command: UpdateCommand): Promise<Agent>;
  /** Errors: forbidden/AGENT_ID_MISMATCH; conflict/REQUEST_ID_REUSED. */
  deregister(
    caller: Caller,
    command: { readonly requestId: string; readonly agentId: string },
  ): Promise<void>;
}

/** Creates the registry. */
export function createAgentRegistry(deps: AgentRegistryDeps): AgentRegistry {
  const { agents, events, changes } = deps;

  async function settle(key: AgentKey, stored: StoredAgent): Promise<Agent> {
    events.agentRegistered(key, stored.outcome);
    if (stored.change !== undefined) await changes.settled(stored.change);
    return stored.agent;
  }

  return {
    register: async (caller, { requestId, agentId, content }) => {
      assertSpeaksFor(caller, agentId);
      assertContent(content);
      const key = keyOf(caller, agentId);
      assertRoom(deps, key);
      const request = stamp(caller, requestId, {
        method: "RegisterAgent",
        agentId,
        content: Buffer.from(contentHashOf(content)).toString("base64"),
      });
      return settle(key, await agents.register(key, content, request));
    },
    get: async (key) => {
      const agent = await agents.get(key);
      if (agent === undefined) throw agentNotFound(key);
      return agent;
    },
    list: (query) => agents.list(query),
    update: async (caller, command) => {
      assertSpeaksFor(caller, command.agentId);
      const key = keyOf(caller, command.agentId);
      const request = stamp(caller, command.requestId, updateRequest(command));
      const stored = await agents.update(key, (current) => change(current, command), request);
      return settle(key, stored);
    },
    deregister: async (caller, { requestId, agentId }) => {
      assertSpeaksFor(caller, agentId);
      const key = keyOf(caller, agentId);
      const request = stamp(caller, requestId, { method: "DeregisterAgent", agentId });
      const removed = await agents.remove(key, request);
      if (removed === undefined) return;
      events.agentRemoved(key, "deregistered");
      await changes.settled(removed);
    },
  };
}

/** The error for an agent that is not there. */
export function agentNotFound(key: AgentKey): NexusError {
  return new NexusError({
    kind: "not_found",
    reason: "AGENT_NOT_FOUND",
    message: `There is no agent ${key.agentId} in namespace ${key.namespace}.`,
  });
}

function keyOf(caller: Caller, agentId: string): AgentKey {
  return { namespace: caller.namespace, agentId };
}

function stamp(
  { namespace, principalId, leaf }: Caller,
  requestId: string,
  request: { readonly method: string } & Readonly<Record<string, RequestValue>>,
): RequestStamp {
  const fingerprint = fingerprintOf(request.method, request);
  return { namespace, principalId, requestId, fingerprint, leaf };
}

function updateRequest({ agentId, expectedRevision, patch }: UpdateCommand) {
  const capabilities = patch.capabilities?.map((capability) => ({ ...capability }));
  return { method: "UpdateAgent", agentId, expectedRevision, patch: { ...patch, capabilities } };
}

function change(current: AgentRecord, { expectedRevision, patch }: UpdateCommand): AgentContent {
  if (expectedRevision !== 0 && expectedRevision !== current.revision) {
    throw new NexusError({
      kind: "conflict",
      reason: "REVISION_CONFLICT",
      message: `The agent is at revision ${current.revision}, not ${expectedRevision}.`,
      details: { metadata: { revision: String(current.revision) } },
    });
  }
  const content = applyPatch(current, patch);
  assertContent(content);
  return content;
}

function assertRoom({ index, agentsPerNamespaceMax }: AgentRegistryDeps, key: AgentKey): void {
  if (index.countOf(key.namespace) < agentsPerNamespaceMax || index.get(key) !== undefined) return;
  throw new NexusError({
    kind: "exhausted",
    reason: "AGENT_LIMIT",
    message: `Namespace ${key.namespace} holds its limit of ${agentsPerNamespaceMax} agents.`,
  });
}
