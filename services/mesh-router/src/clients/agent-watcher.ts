/** Follows the registry's agents of every namespace, for ever: who there is, and what they can do. */
import type { RegistryService, WatchAgentsResponse } from "@nexus/proto/registry";
import type { RpcClient } from "@nexus/rpc";
import { backoffDelayMs, sleep } from "@nexus/shared";
import type { AgentBook } from "../domain/agent-book.ts";
import type { ReportEvents } from "../domain/ports.ts";

const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 5_000, jitter: 0.3 };
/** The registry is never silent for more than 5 s; after this long without a word the watch begins anew. */
const SILENCE_MAX_MS = 20_000;

/** What the watcher needs. */
export interface AgentWatcherInit {
  readonly client: Pick<RpcClient<typeof RegistryService>, "watchAgents">;
  readonly agents: AgentBook;
  readonly events: Pick<ReportEvents, "agentWatchFailed">;
}

/** Owns the watch. What was learnt stays while the registry is away: its loss delays news, never messages. */
export class AgentWatcher {
  readonly #init: AgentWatcherInit;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #resumeToken = "";
  /** Agents of the snapshot under way. */
  #snapshot: Set<string> | undefined;

  constructor(init: AgentWatcherInit) {
    this.#init = init;
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      let failure: unknown;
      try {
        await this.#watchOnce(() => {
          failures = 0;
        });
      } catch (error) {
        failure = error;
      }
      if (this.#stop.signal.aborted) return;
      failures += 1;
      this.#init.events.agentWatchFailed(failure);
      await sleep(backoffDelayMs(failures, RECONNECT), this.#stop.signal).catch(() => undefined);
    }
  }

  async #watchOnce(onMessage: () => void): Promise<void> {
    const silence = new AbortController();
    const arm = () => setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    let timer = arm();
    if (this.#resumeToken === "") this.#snapshot = new Set();
    const signal = AbortSignal.any([this.#stop.signal, silence.signal]);
    const request = { allNamespaces: true, resumeToken: this.#resumeToken };
    try {
      for await (const message of this.#init.client.watchAgents(request, { signal })) {
        clearTimeout(timer);
        timer = arm();
        onMessage();
        this.#apply(message);
      }
    } finally {
      clearTimeout(timer);
      // A snapshot that broke off is worth nothing: the next watch begins with a new one.
      if (this.#snapshot !== undefined) this.#resumeToken = "";
    }
  }

  #apply(message: WatchAgentsResponse): void {
    const { agents } = this.#init;
    if (message.reset) this.#snapshot = new Set();
    for (const { namespace, agentId, capabilities } of message.agents) {
      this.#snapshot?.add(keyOf(namespace, agentId));
      const names = new Set(capabilities.map(({ name }) => name));
      agents.put({ namespace, agentId, capabilities: [...names].sort() });
    }
    for (const { namespace, agentId } of message.removed) {
      this.#snapshot?.delete(keyOf(namespace, agentId));
      agents.remove(namespace, agentId);
    }
    if (message.snapshotComplete) this.#endSnapshot();
    if (message.resumeToken !== "") this.#resumeToken = message.resumeToken;
  }

  #endSnapshot(): void {
    const snapshot = this.#snapshot;
    this.#snapshot = undefined;
    if (snapshot === undefined) return;
    for (const { namespace, agentId } of [...this.#init.agents.everyone()]) {
      if (!snapshot.has(keyOf(namespace, agentId))) this.#init.agents.remove(namespace, agentId);
    }
  }
}

function keyOf(namespace: string, agentId: string): string {
  return `${namespace}/${agentId}`;
}
