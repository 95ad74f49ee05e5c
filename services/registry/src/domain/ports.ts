/** What the domain needs from the outside: a store of agents, the change feed, and somebody to tell. */
import type {
  Agent,
  AgentContent,
  AgentKey,
  AgentRecord,
  AgentState,
  Presence,
  Reputation,
} from "./agent.ts";
import type { OutcomeEvidence } from "./reputation.ts";

/** Which part of an agent a change touched. Creation and removal are changes of the record. */
export type AgentPart = "record" | "presence" | "reputation";

/** One line of the change feed. */
export interface AgentChange extends AgentKey {
  readonly revision: number;
  readonly part: AgentPart;
}

/** The entry of a call in the audit log, which commits with what the call changes. */
export interface AuditLeaf {
  /** The encoded entry. */
  draft(): Uint8Array;
  /** To be called once the transaction that holds it has been committed. */
  stored(): void;
}

/** Makes a mutation safe to repeat. */
export interface RequestStamp {
  readonly namespace: string;
  readonly principalId: string;
  readonly requestId: string;
  /** Of everything else the request says. */
  readonly fingerprint: Uint8Array;
  readonly leaf?: AuditLeaf | undefined;
}

/** What a mutation of a record did. */
export interface StoredAgent {
  readonly agent: Agent;
  /** `unchanged`: the content was there already. `repeated`: the request was carried out before. */
  readonly outcome: "created" | "changed" | "unchanged" | "repeated";
  /** The change's revision in the feed; undefined when nothing changed. */
  readonly change: number | undefined;
}

/** Which agents a list wants. */
export interface AgentListQuery {
  readonly namespace: string;
  /** Empty means all. */
  readonly states: readonly AgentState[];
  readonly capability: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pageSize: number;
  readonly pageToken: string;
}

/** One page, by agent id. */
export interface AgentPage {
  readonly agents: readonly Agent[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/** Records of agents. All methods that change something are one transaction, the feed's line included. */
export interface AgentStore {
  get(key: AgentKey): Promise<Agent | undefined>;
  /** Errors: invalid/PAGE_TOKEN_INVALID. A page ends early when it gets too large for one answer. */
  list(query: AgentListQuery): Promise<AgentPage>;
  /** Creates or replaces a record. Errors: conflict/REQUEST_ID_REUSED; not_found/AGENT_NOT_FOUND when the request was
   * carried out before and the agent has been removed since. */
  register(key: AgentKey, content: AgentContent, request: RequestStamp): Promise<StoredAgent>;
  /** Replaces a record's content by what `change` makes of it, under a lock. Errors: those of `change`;
   * not_found/AGENT_NOT_FOUND; conflict/REQUEST_ID_REUSED. */
  update(
    key: AgentKey,
    change: (current: AgentRecord) => AgentContent,
    request: RequestStamp,
  ): Promise<StoredAgent>;
  /** Removes a record with everything about the agent; returns the feed's revision, undefined when nothing was there.
   * Errors: conflict/REQUEST_ID_REUSED. */
  remove(key: AgentKey, request: RequestStamp): Promise<number | undefined>;
  /** Removes up to `limit` records that have expired, by database time. */
  removeExpired(limit: number): Promise<ChangedAgents>;
}

/** Agents that a statement changed. */
export interface ChangedAgents {
  readonly keys: readonly AgentKey[];
  /** The last of their revisions in the feed; undefined when there were none. */
  readonly change: number | undefined;
}

/** What a router says of one session. */
export interface PresenceReport extends AgentKey {
  readonly epoch: bigint;
  readonly state: AgentState;
  readonly slots: number;
  readonly busySlots: number;
}

/** What became of a batch of presence reports. */
export interface PresenceOutcome {
  /** Reports about agents that are not registered. */
  readonly unknown: number;
  /** Reports with an older epoch than the stored one. */
  readonly stale: number;
  /** Agents whose state or slots changed. */
  readonly changed: number;
  readonly change: number | undefined;
}

/** Presence of agents. */
export interface PresenceStore {
  /** At most one report an agent. Renewals that change nothing are one statement and write no change. */
  report(routerId: string, reports: readonly PresenceReport[]): Promise<PresenceOutcome>;
  /** Marks up to `limit` live agents LOST that were not reported for this long, by database time. */
  expire(lostAfterMs: number, limit: number): Promise<ChangedAgents>;
}

/** Ends of attempts that the same agent ran and that ended in the same way, as the orchestrator reports them. */
export interface OutcomeTally extends AgentKey, OutcomeEvidence {
  readonly capability: string;
}

/** Outcomes that are counted together or not at all. */
export interface OutcomeGroup {
  /** Grows from group to group of a stream. */
  readonly position: bigint;
  /** In the order of their last ends. */
  readonly tallies: readonly OutcomeTally[];
}

/** Which reputation an outcome belongs to, and what it was before. */
export interface ReputationBefore extends AgentKey {
  readonly capability: string;
  /** Undefined when the capability has none yet. */
  readonly reputation: Reputation | undefined;
}

/** A reputation to store. */
export interface ReputationAfter extends AgentKey {
  readonly reputation: Reputation;
}

/** Turns reputations and new outcomes into new reputations. Pure; may run again when the transaction is repeated. */
export type ReputationFold = (
  before: readonly ReputationBefore[],
  tallies: readonly OutcomeTally[],
  nowMs: number,
) => readonly ReputationAfter[];

/** Reputations, and which outcomes have been counted. */
export interface ReputationStore {
  /** Counts groups of a stream, by rising position, from the last position that was counted on, in one transaction. Outcomes of
   * agents that are not registered count nowhere. */
  count(
    stream: string,
    groups: readonly OutcomeGroup[],
    fold: ReputationFold,
  ): Promise<{ readonly counted: number; readonly change: number | undefined }>;
}

/** A stretch of the feed. */
export interface FeedBatch {
  readonly feedId: string;
  /** Lines up to this revision are gone: whoever stands before it has missed something. */
  readonly prunedThrough: number;
  /** In order, at most as many as asked for. */
  readonly changes: readonly AgentChange[];
}

/** Where the feed stands. */
export interface FeedHead {
  readonly feedId: string;
  readonly prunedThrough: number;
  readonly revision: number;
}

/** An agent with the revision of its last change in a stretch of the feed. */
export interface ChangedAgent extends AgentKey {
  readonly revision: number;
}

/** The change feed. */
export interface ChangeFeed {
  head(): Promise<FeedHead>;
  /** The lines behind a revision. */
  read(after: number, limit: number): Promise<FeedBatch>;
  /** The agents that changed behind one revision up to another, in the order of their last change. */
  changedBetween(
    after: number,
    through: number,
    namespace: string | undefined,
  ): Promise<readonly ChangedAgent[]>;
}

/** Reads agents for the index. Absent agents are absent from the answers. */
export interface IndexSource {
  loadAgents(keys: readonly AgentKey[]): Promise<readonly Agent[]>;
  loadPresences(keys: readonly AgentKey[]): Promise<readonly (AgentKey & { presence: Presence })[]>;
  loadReputations(
    keys: readonly AgentKey[],
  ): Promise<readonly (AgentKey & { reputations: readonly Reputation[] })[]>;
  /** The next agents by namespace and id; undefined starts at the first. */
  loadPage(after: AgentKey | undefined, limit: number): Promise<readonly Agent[]>;
}

/** Hears what happened, for metrics and logs. */
export interface RegistryEvents {
  agentRegistered(key: AgentKey, outcome: StoredAgent["outcome"]): void;
  agentRemoved(key: AgentKey, cause: "deregistered" | "expired"): void;
  presenceReported(outcome: PresenceOutcome, reports: number): void;
  agentLost(key: AgentKey): void;
  outcomesCounted(counted: number, leftOut: number): void;
  indexLoaded(agents: number, cause: "start" | "gap"): void;
  watcherTooSlow(): void;
}
