/** One watch: a snapshot or the missed changes first, then everything that happens, in messages of bounded size. */
import type { Agent, AgentKey } from "./agent.ts";
import { ANSWER_BYTES_MAX } from "./agent-size.ts";
import type { AgentEvent, AgentSubscription, AgentWatches } from "./agent-watches.ts";
import type { CapabilityIndex } from "./capability-index.ts";
import type { ChangeFeed } from "./ports.ts";
import { encodeResumeToken, tryDecodeResumeToken } from "./resume-token.ts";

/** Agents in one message. */
export const WATCH_MESSAGE_AGENTS_MAX = 512;

/** What a watcher is told at once. */
export interface WatchMessage {
  /** Empty while a snapshot is under way: it cannot be continued, only begun again. */
  readonly resumeToken: string;
  readonly agents: readonly Agent[];
  readonly removed: readonly AgentKey[];
  readonly snapshotComplete: boolean;
  readonly reset: boolean;
}

/** What watchAgents needs. */
export interface AgentWatchDeps {
  readonly index: CapabilityIndex;
  readonly feed: ChangeFeed;
  readonly watches: AgentWatches;
  /** Where the index stands. */
  readonly position: () => { readonly feedId: string; readonly revision: number };
}

/** Yields messages until the signal aborts or the consumer leaves.
 *
 * Errors: exhausted/WATCHER_TOO_SLOW. */
export async function* watchAgents(
  deps: AgentWatchDeps,
  request: { readonly namespace: string | undefined; readonly resumeToken: string },
  signal: AbortSignal,
): AsyncGenerator<WatchMessage, void> {
  const subscription = deps.watches.subscribe(request.namespace);
  const onAbort = () => subscription.close();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const watch = new Watch(deps, request.namespace, subscription);
    if (request.resumeToken === "") yield* watch.snapshot();
    else yield* watch.resume(request.resumeToken);
    if (!signal.aborted) yield* watch.follow();
  } finally {
    signal.removeEventListener("abort", onAbort);
    subscription.close();
  }
}

/** A change or an agent of a snapshot, to be packed into messages. */
type Item = Pick<AgentEvent, "key" | "view" | "approximateBytes" | "revision">;

class Watch {
  readonly #deps: AgentWatchDeps;
  readonly #namespace: string | undefined;
  readonly #subscription: AgentSubscription;
  /** The watcher knows everything up to here: this replica may have yet to hear what another one told it. */
  #known = 0;

  constructor(
    deps: AgentWatchDeps,
    namespace: string | undefined,
    subscription: AgentSubscription,
  ) {
    this.#deps = deps;
    this.#namespace = namespace;
    this.#subscription = subscription;
  }

  /** All agents as they are. What changes while they are sent waits in the subscription. */
  *snapshot(): Generator<WatchMessage, void> {
    const { revision } = this.#deps.position();
    const items = this.#deps.index.snapshot(this.#namespace).map((agent) => ({
      ...agent,
      key: agent.view.record,
      revision,
    }));
    const chunks = [...chunksOf(items)];
    const last = chunks.pop() ?? [];
    for (const chunk of chunks) yield { ...messageOf(chunk), resumeToken: "" };
    yield { ...messageOf(last), resumeToken: this.#token(revision), snapshotComplete: true };
  }

  /** What changed since the token, or a reset and a snapshot when that is not known any more. */
  async *resume(token: string): AsyncGenerator<WatchMessage, void> {
    const { revision } = this.#deps.position();
    const missed = await this.#missedSince(token, revision);
    if (missed === undefined) {
      yield* this.#startAnew();
      return;
    }
    this.#known = tryDecodeResumeToken(token)?.revision ?? 0;
    for (const chunk of chunksOf(missed)) {
      yield { ...messageOf(chunk), resumeToken: this.#token(chunk.at(-1)?.revision ?? revision) };
    }
    // Says at once where the watch stands, also when nothing was missed.
    yield { ...messageOf([]), resumeToken: this.#token(revision) };
  }

  /** Everything that happens from the subscription on. */
  async *follow(): AsyncGenerator<WatchMessage, void> {
    for (;;) {
      const batch = await this.#subscription.next();
      if (batch === undefined) return;
      if (batch.reset) {
        yield* this.#startAnew();
        continue;
      }
      const events = batch.events.filter(({ revision }) => revision > this.#known);
      const chunks = [...chunksOf(events)];
      const last = chunks.pop() ?? [];
      for (const chunk of chunks) {
        const through = chunk.at(-1)?.revision ?? batch.through;
        yield { ...messageOf(chunk), resumeToken: this.#token(through) };
      }
      yield { ...messageOf(last), resumeToken: this.#token(batch.through) };
    }
  }

  *#startAnew(): Generator<WatchMessage, void> {
    this.#known = 0;
    yield { ...messageOf([]), resumeToken: "", reset: true };
    yield* this.snapshot();
  }

  async #missedSince(token: string, through: number): Promise<Item[] | undefined> {
    const point = tryDecodeResumeToken(token);
    if (point === undefined || point.namespace !== this.#namespace) return undefined;
    if (point.feedId !== this.#deps.position().feedId) return undefined;
    const changed = await this.#deps.feed.changedBetween(point.revision, through, this.#namespace);
    // Asked after the changes were read: had any of them been pruned before, the horizon would show it.
    const head = await this.#deps.feed.head();
    const known =
      head.feedId === point.feedId &&
      head.prunedThrough <= point.revision &&
      point.revision <= head.revision;
    if (!known) return undefined;
    return changed.map(({ revision, ...key }) => {
      const agent = this.#deps.index.get(key);
      return { key, revision, view: agent?.view, approximateBytes: agent?.approximateBytes ?? 0 };
    });
  }

  #token(revision: number): string {
    const { feedId } = this.#deps.position();
    const through = Math.max(revision, this.#known);
    return encodeResumeToken({ feedId, revision: through, namespace: this.#namespace });
  }
}

function messageOf(items: readonly Item[]): Omit<WatchMessage, "resumeToken"> {
  const latest = new Map<string, Item>();
  for (const item of items) latest.set(`${item.key.namespace}\n${item.key.agentId}`, item);
  const agents: Agent[] = [];
  const removed: AgentKey[] = [];
  for (const { key, view } of latest.values()) {
    if (view === undefined) removed.push(key);
    else agents.push(view);
  }
  return { agents, removed, snapshotComplete: false, reset: false };
}

function* chunksOf(items: readonly Item[]): Generator<Item[]> {
  let chunk: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const full = chunk.length >= WATCH_MESSAGE_AGENTS_MAX;
    if (full || (chunk.length > 0 && bytes + item.approximateBytes > ANSWER_BYTES_MAX)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += item.approximateBytes;
  }
  if (chunk.length > 0) yield chunk;
}
