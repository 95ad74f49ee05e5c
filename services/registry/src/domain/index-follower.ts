/** IndexFollower: keeps the index in step with the change feed, and tells watchers. The only writer of the index. */
import { NexusError, withDeadline } from "@nexus/shared";
import { type AgentKey, keyText } from "./agent.ts";
import type { ChangeSettler } from "./agent-registry.ts";
import type { AgentEvent, AgentWatches } from "./agent-watches.ts";
import type { CapabilityIndex } from "./capability-index.ts";
import type { AgentChange, ChangeFeed, IndexSource, RegistryEvents } from "./ports.ts";

/** Changes taken in at once. Below half of a watcher's buffer, so that a watcher that reads is never too slow. */
export const FOLLOW_BATCH_MAX = 256;

/** Agents read at once when the index is built. */
export const LOAD_PAGE_MAX = 256;

/** How long a writer waits for the index to take in its change. */
export const SETTLE_TIMEOUT_MS = 1_000;

/** What the follower needs. */
export interface IndexFollowerDeps {
  readonly feed: ChangeFeed;
  readonly source: IndexSource;
  readonly index: CapabilityIndex;
  readonly watches: AgentWatches;
  readonly events: RegistryEvents;
  /** Asks for a catchUp() soon; whoever repeats it decides when. */
  readonly onBehind: () => void;
}

interface Waiter {
  readonly revision: number;
  resolve(): void;
}

/** Follows the feed. catchUp() and load() must not overlap. */
export class IndexFollower implements ChangeSettler {
  readonly #deps: IndexFollowerDeps;
  readonly #waiters = new Set<Waiter>();
  #feedId = "";
  #revision = 0;

  constructor(deps: IndexFollowerDeps) {
    this.#deps = deps;
  }

  /** The feed that the index follows. */
  get feedId(): string {
    return this.#feedId;
  }

  /** Every change up to this revision is in the index. */
  get revision(): number {
    return this.#revision;
  }

  /** Builds the index from the tables. Changes made meanwhile are taken in again by the next catchUp(). */
  async load(cause: "start" | "gap" = "start"): Promise<void> {
    const { feed, source, index, watches, events } = this.#deps;
    const head = await feed.head();
    const loaded = new Set<string>();
    let after: AgentKey | undefined;
    for (;;) {
      const page = await source.loadPage(after, LOAD_PAGE_MAX);
      for (const view of page) {
        index.put(view);
        loaded.add(keyText(view.record));
      }
      if (page.length < LOAD_PAGE_MAX) break;
      after = page.at(-1)?.record;
    }
    for (const { view } of index.snapshot()) {
      if (!loaded.has(keyText(view.record))) index.remove(view.record);
    }
    this.#feedId = head.feedId;
    this.#advance(head.revision);
    watches.reset(head.revision);
    events.indexLoaded(index.size, cause);
  }

  /** Takes in all changes there are. Builds the index anew when the feed no longer holds what comes next. */
  async catchUp(): Promise<void> {
    for (;;) {
      const batch = await this.#deps.feed.read(this.#revision, FOLLOW_BATCH_MAX);
      if (batch.feedId !== this.#feedId || batch.prunedThrough > this.#revision) {
        await this.load("gap");
        continue;
      }
      if (batch.changes.length > 0) await this.#take(batch.changes);
      if (batch.changes.length < FOLLOW_BATCH_MAX) return;
    }
  }

  /** See ChangeSettler. */
  async settled(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    let waiter: Waiter | undefined;
    const reached = new Promise<void>((resolve) => {
      waiter = { revision, resolve };
      this.#waiters.add(waiter);
    });
    this.#deps.onBehind();
    try {
      await withDeadline(reached, SETTLE_TIMEOUT_MS);
    } catch (error) {
      // The change is committed and arrives with the next catchUp(); the answer does not wait longer for it.
      if (!NexusError.is(error, "deadline")) throw error;
    } finally {
      if (waiter !== undefined) this.#waiters.delete(waiter);
    }
  }

  async #take(changes: readonly AgentChange[]): Promise<void> {
    const last = changes.at(-1)?.revision ?? this.#revision;
    const touched = new Map<string, Touched>();
    for (const change of changes) note(touched, change);
    const agents = [...touched.values()];
    const records = agents.filter(({ parts }) => parts.has("record"));
    const others = agents.filter(({ parts }) => !parts.has("record"));
    await this.#takeRecords(records.map(({ key }) => key));
    await this.#takePresences(others.filter(({ parts }) => parts.has("presence")));
    await this.#takeReputations(others.filter(({ parts }) => parts.has("reputation")));
    this.#advance(last);
    this.#deps.watches.publish(
      agents.sort(byRevision).map((agent) => this.#eventOf(agent)),
      last,
    );
  }

  async #takeRecords(keys: readonly AgentKey[]): Promise<void> {
    if (keys.length === 0) return;
    const { source, index } = this.#deps;
    const views = await source.loadAgents(keys);
    const present = new Set(views.map(({ record }) => keyText(record)));
    for (const view of views) index.put(view);
    for (const key of keys) if (!present.has(keyText(key))) index.remove(key);
  }

  async #takePresences(agents: readonly Touched[]): Promise<void> {
    if (agents.length === 0) return;
    const { source, index } = this.#deps;
    const loaded = await source.loadPresences(agents.map(({ key }) => key));
    for (const { presence, ...key } of loaded) index.putPresence(key, presence);
  }

  async #takeReputations(agents: readonly Touched[]): Promise<void> {
    if (agents.length === 0) return;
    const { source, index } = this.#deps;
    const loaded = await source.loadReputations(agents.map(({ key }) => key));
    for (const { reputations, ...key } of loaded) index.putReputations(key, reputations);
  }

  #eventOf({ key, revision }: Touched): AgentEvent {
    const agent = this.#deps.index.get(key);
    const approximateBytes = agent?.approximateBytes ?? 0;
    return { key, revision, view: agent?.view, approximateBytes };
  }

  #advance(revision: number): void {
    this.#revision = revision;
    for (const waiter of this.#waiters) if (waiter.revision <= revision) waiter.resolve();
  }
}

interface Touched {
  readonly key: AgentKey;
  readonly parts: Set<AgentChange["part"]>;
  revision: number;
}

function note(touched: Map<string, Touched>, change: AgentChange): void {
  const { namespace, agentId, part, revision } = change;
  const key = keyText(change);
  const known = touched.get(key);
  if (known === undefined) {
    touched.set(key, { key: { namespace, agentId }, parts: new Set([part]), revision });
    return;
  }
  known.parts.add(part);
  known.revision = revision;
}

function byRevision(a: Touched, b: Touched): number {
  return a.revision - b.revision;
}
