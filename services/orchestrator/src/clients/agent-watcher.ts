/** Follows the registry's agents of every namespace, for ever. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Agent, RegistryService, WatchAgentsResponse } from "@nexus/proto/registry";
import type { RpcClient } from "@nexus/rpc";
import { backoffDelayMs, type Logger, NexusError, sleep } from "@nexus/shared";
import type { Skill } from "../domain/routing.ts";
import { sortVersions } from "../domain/version-range.ts";

const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 5_000, jitter: 0.3 };
/** The registry is never silent for more than 5 s; after this long without a word the watch begins anew. */
const SILENCE_MAX_MS = 20_000;

/** What the watcher tells of. */
export interface AgentListener {
  onAgent(profile: {
    readonly namespace: string;
    readonly agentId: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly region: string;
    readonly skills: ReadonlyMap<string, Skill>;
  }): void;
  onAgentRemoved(namespace: string, agentId: string): void;
  /** Agents told of so far, to find out who is gone after a new snapshot. */
  profiledAgents(): readonly { readonly namespace: string; readonly agentId: string }[];
}

/** Owns the watch. What was learnt stays while the registry is away: its loss delays news, never tasks. */
export class AgentWatcher {
  readonly #client: Pick<RpcClient<typeof RegistryService>, "watchAgents">;
  readonly #listener: AgentListener;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #resumeToken = "";
  /** Agents of the snapshot under way. */
  #snapshot: Set<string> | undefined;
  #synced = false;

  constructor(options: {
    client: Pick<RpcClient<typeof RegistryService>, "watchAgents">;
    listener: AgentListener;
    logger: Logger;
  }) {
    this.#client = options.client;
    this.#listener = options.listener;
    this.#logger = options.logger;
    this.#running = this.#run();
  }

  /** True once a whole snapshot was taken in. */
  get synced(): boolean {
    return this.#synced;
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
      const level = NexusError.levelOfEnd(failure);
      this.#logger[level]({ err: failure, failures }, "watch of agents ended; watching again");
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
      for await (const message of this.#client.watchAgents(request, { signal })) {
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
    if (message.reset) this.#snapshot = new Set();
    for (const agent of message.agents) {
      this.#snapshot?.add(keyOf(agent));
      const { namespace, agentId, labels, region } = agent;
      this.#listener.onAgent({ namespace, agentId, labels, region, skills: toSkills(agent) });
    }
    for (const { namespace, agentId } of message.removed) {
      this.#snapshot?.delete(keyOf({ namespace, agentId }));
      this.#listener.onAgentRemoved(namespace, agentId);
    }
    if (message.snapshotComplete) this.#endSnapshot();
    if (message.resumeToken !== "") this.#resumeToken = message.resumeToken;
  }

  #endSnapshot(): void {
    const snapshot = this.#snapshot;
    this.#snapshot = undefined;
    this.#synced = true;
    if (snapshot === undefined) return;
    for (const agent of this.#listener.profiledAgents()) {
      if (!snapshot.has(keyOf(agent))) {
        this.#listener.onAgentRemoved(agent.namespace, agent.agentId);
      }
    }
  }
}

function keyOf(agent: { readonly namespace: string; readonly agentId: string }): string {
  return `${agent.namespace}\u0000${agent.agentId}`;
}

/** Joins the versions of a capability into one skill; cost and latency hint are those of the highest version. */
function toSkills(agent: Agent): Map<string, Skill> {
  const versions = new Map<string, string[]>();
  for (const { name, version } of agent.capabilities) {
    versions.set(name, [...(versions.get(name) ?? []), version]);
  }
  const reputations = new Map(agent.reputations.map((item) => [item.capability, item]));
  const skills = new Map<string, Skill>();
  for (const [name, unsorted] of versions) {
    const sorted = sortVersions(unsorted);
    const best = agent.capabilities.find((c) => c.name === name && c.version === sorted[0]);
    const reputation = reputations.get(name);
    const latency = reputation?.meanLatency ?? best?.latencyHint;
    skills.set(name, {
      versions: sorted,
      costMicros: Number(best?.costMicros ?? 0n),
      latencyMs: latency === undefined ? undefined : durationMs(latency),
      lowerBound: reputation?.lowerBound ?? 0,
      evidence: reputation?.evidence ?? 0,
    });
  }
  return skills;
}
