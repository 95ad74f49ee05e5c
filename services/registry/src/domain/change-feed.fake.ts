/** A feed and its agents in memory, for unit tests of what follows them. The Postgres feed's own tests hold it to the same. */
import { type Agent, type AgentKey, keyText } from "./agent.ts";
import type { AgentChange, AgentPart, ChangeFeed, IndexSource } from "./ports.ts";

/** Something to follow. */
export interface FakeFeed extends ChangeFeed, IndexSource {
  /** Stores an agent and adds a line. */
  put(view: Agent, part?: AgentPart): number;
  /** Removes an agent and adds a line. */
  remove(key: AgentKey): number;
  /** Forgets all lines up to a revision. */
  prune(through: number): void;
  /** Becomes the feed of another database. */
  replace(): void;
  /** Reads that happened. */
  readonly reads: number;
}

/** Creates an empty feed. */
export function createFakeFeed(): FakeFeed {
  const agents = new Map<string, Agent>();
  let changes: AgentChange[] = [];
  let feedId = "00000000-0000-4000-8000-000000000001";
  let revision = 0;
  let prunedThrough = 0;
  let reads = 0;
  const add = ({ namespace, agentId }: AgentKey, part: AgentPart) => {
    revision += 1;
    changes.push({ revision, namespace, agentId, part });
    return revision;
  };
  const load = (keys: readonly AgentKey[]) => keys.flatMap((key) => agents.get(keyText(key)) ?? []);
  const keyOf = ({ record: { namespace, agentId } }: Agent) => ({ namespace, agentId });
  return {
    put: (view, part = "record") => {
      agents.set(keyText(view.record), view);
      return add(view.record, part);
    },
    remove: (key) => {
      agents.delete(keyText(key));
      return add(key, "record");
    },
    prune: (through) => {
      prunedThrough = through;
      changes = changes.filter((change) => change.revision > through);
    },
    replace: () => {
      feedId = "00000000-0000-4000-8000-000000000002";
    },
    get reads() {
      return reads;
    },
    head: () => Promise.resolve({ feedId, prunedThrough, revision }),
    read: (after, limit) => {
      reads += 1;
      const next = changes.filter((change) => change.revision > after).slice(0, limit);
      return Promise.resolve({ feedId, prunedThrough, changes: next });
    },
    changedBetween: (after, through, namespace) => {
      const latest = new Map<string, AgentChange>();
      for (const change of changes) {
        const wanted = namespace === undefined || change.namespace === namespace;
        if (!wanted || change.revision <= after || change.revision > through) continue;
        latest.set(keyText(change), change);
      }
      const sorted = [...latest.values()].sort((a, b) => a.revision - b.revision);
      return Promise.resolve(
        sorted.map(({ namespace, agentId, revision }) => ({ namespace, agentId, revision })),
      );
    },
    loadAgents: (keys) => Promise.resolve(load(keys)),
    loadPresences: (keys) =>
      Promise.resolve(
        load(keys).flatMap((view) =>
          view.presence === undefined ? [] : { ...keyOf(view), presence: view.presence },
        ),
      ),
    loadReputations: (keys) =>
      Promise.resolve(
        load(keys).map((view) => ({ ...keyOf(view), reputations: view.reputations })),
      ),
    loadPage: (after, limit) => {
      const start = after === undefined ? "" : keyText(after);
      const sorted = [...agents]
        .filter(([key]) => key > start)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      return Promise.resolve(sorted.slice(0, limit).map(([, view]) => view));
    },
  };
}
