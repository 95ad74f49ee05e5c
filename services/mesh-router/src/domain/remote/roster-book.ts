/** Who is at the other replicas, as each of them tells. A hint that heals: the table of sessions is the truth. */
import { ROSTER_NEWS_WAITING_MAX } from "../limits.ts";
import { nameKey } from "../mail/mail-ports.ts";
import type { Ear, TopicBook } from "../topic/topic-book.ts";
import { RemoteAgent, RemotePeer } from "./remote-agent.ts";
import type {
  ReplicaLink,
  Roster,
  RosterChange,
  RosterSession,
  RosterSubscription,
  RosterWatch,
} from "./remote-ports.ts";

/** What the book is made from. */
export interface RosterBookInit {
  readonly link: ReplicaLink;
  readonly topics: TopicBook;
  /** A session is at another replica. */
  readonly onSession: (agent: RemoteAgent) => void;
}

interface PeerRoster {
  readonly peer: RemotePeer;
  readonly agents: Map<string, RemoteAgent>;
  readonly subscriptions: Map<string, RosterSubscription>;
  /** What stops each watch, by namespace and pattern. */
  readonly watches: Map<string, () => void>;
  /** What hears for the replica, by namespace. */
  readonly ears: Map<string, Ear>;
  /** The last news that were taken in; undefined until a whole roster came. */
  sequence: number | undefined;
  /** News that came before the whole roster that they follow. */
  waiting: Roster[];
}

/** Keeps one roster for each replica. */
export class RosterBook {
  readonly #init: RosterBookInit;
  readonly #rosters = new Map<string, PeerRoster>();
  /** The agents of each namespace; where several replicas name one, that of the newest session. */
  readonly #byNamespace = new Map<string, Map<string, RemoteAgent>>();

  constructor(init: RosterBookInit) {
    this.#init = init;
  }

  /** Agents known to be elsewhere. */
  get size(): number {
    let size = 0;
    for (const agents of this.#byNamespace.values()) size += agents.size;
    return size;
  }

  /** Replicas whose roster is not known, or not complete. */
  get unknown(): readonly string[] {
    return [...this.#rosters.values()]
      .filter(({ sequence }) => sequence === undefined)
      .map(({ peer }) => peer.replicaId);
  }

  find(namespace: string, agentId: string): RemoteAgent | undefined {
    return this.#byNamespace.get(namespace)?.get(agentId);
  }

  agentsOf(namespace: string): Iterable<RemoteAgent> {
    return this.#byNamespace.get(namespace)?.values() ?? [];
  }

  peer(replicaId: string): RemotePeer | undefined {
    return this.#rosters.get(replicaId)?.peer;
  }

  /** There is another replica. */
  joined(replicaId: string): RemotePeer {
    const known = this.#rosters.get(replicaId);
    if (known !== undefined) return known.peer;
    const peer = new RemotePeer(replicaId, this.#init.link);
    this.#rosters.set(replicaId, {
      peer,
      agents: new Map(),
      subscriptions: new Map(),
      watches: new Map(),
      ears: new Map(),
      sequence: undefined,
      waiting: [],
    });
    return peer;
  }

  /** A replica is gone, and everybody with it. Returns what it was, with what was handed to it. */
  lost(replicaId: string): RemotePeer | undefined {
    const roster = this.#rosters.get(replicaId);
    if (roster === undefined) return undefined;
    this.#rosters.delete(replicaId);
    this.#clear(roster);
    return roster.peer;
  }

  /** News may be missing: what is known stays until the whole roster comes. */
  doubt(replicaId: string | undefined): void {
    for (const [id, roster] of this.#rosters) {
      if (replicaId === undefined || id === replicaId) roster.sequence = undefined;
    }
  }

  /** News came. */
  told(replicaId: string, news: Roster): void {
    this.joined(replicaId);
    const roster = this.#rosters.get(replicaId) as PeerRoster;
    if (roster.sequence !== undefined && news.sequence > roster.sequence + 1) {
      roster.sequence = undefined;
    }
    if (roster.sequence === undefined) {
      if (roster.waiting.length >= ROSTER_NEWS_WAITING_MAX) roster.waiting = [];
      roster.waiting.push(news);
    } else if (news.sequence > roster.sequence) this.#apply(roster, news);
  }

  /** A whole roster came: what it does not name is gone. */
  toldAll(replicaId: string, whole: Roster): void {
    const roster = this.#rosters.get(replicaId);
    if (roster === undefined) return;
    if (roster.sequence !== undefined && roster.sequence >= whole.sequence) return;
    this.#replace(roster, whole);
    const waiting = roster.waiting.toSorted((a, b) => a.sequence - b.sequence);
    roster.waiting = [];
    for (const news of waiting) this.told(replicaId, news);
  }

  /** A replica says that an agent is not there. */
  notThere(agent: RemoteAgent): void {
    const roster = this.#rosters.get(agent.peer.replicaId);
    const key = nameKey(agent.namespace, agent.agentId);
    if (roster?.agents.get(key) === agent) this.#removeAgent(roster, agent);
  }

  /** The table says where an agent is. Undefined when that replica is not there. */
  learned(replicaId: string, session: Omit<RosterSession, "kind">): RemoteAgent | undefined {
    const roster = this.#rosters.get(replicaId);
    if (roster === undefined) return undefined;
    const known = roster.agents.get(nameKey(session.namespace, session.agentId));
    return known?.epoch === session.epoch ? known : this.#addAgent(roster, session);
  }

  #apply(roster: PeerRoster, { sequence, changes }: Roster): void {
    roster.sequence = sequence;
    for (const change of changes) this.#change(roster, change);
  }

  #replace(roster: PeerRoster, { sequence, changes }: Roster): void {
    const keys = new Set(changes.map(({ entry }) => entryKey(entry)));
    for (const agent of [...roster.agents.values()]) {
      const key = entryKey({ kind: "session", ...agentName(agent) });
      if (!keys.has(key)) this.#removeAgent(roster, agent);
    }
    for (const [key, entry] of [...roster.subscriptions]) {
      if (!keys.has(key)) this.#change(roster, { entry, gone: true });
    }
    for (const [key, stop] of [...roster.watches]) {
      if (keys.has(key)) continue;
      stop();
      roster.watches.delete(key);
    }
    this.#apply(roster, { sequence, changes });
  }

  #clear(roster: PeerRoster): void {
    for (const agent of [...roster.agents.values()]) this.#removeAgent(roster, agent);
    for (const entry of [...roster.subscriptions.values()]) {
      this.#change(roster, { entry, gone: true });
    }
    for (const stop of roster.watches.values()) stop();
    roster.watches.clear();
  }

  #change(roster: PeerRoster, { entry, gone }: RosterChange): void {
    if (entry.kind === "session") this.#changeAgent(roster, entry, gone);
    else if (entry.kind === "subscription") this.#changeSubscription(roster, entry, gone);
    else this.#changeWatch(roster, entry, gone);
  }

  #changeAgent(roster: PeerRoster, entry: RosterSession, gone: boolean): void {
    const known = roster.agents.get(nameKey(entry.namespace, entry.agentId));
    if (gone) {
      if (known !== undefined) this.#removeAgent(roster, known);
    } else if (known?.epoch !== entry.epoch || known.attached !== entry.attached) {
      this.#init.onSession(this.#addAgent(roster, entry));
    }
  }

  #changeSubscription(roster: PeerRoster, entry: RosterSubscription, gone: boolean): void {
    const { namespace, agentId, pattern, group } = entry;
    const origin = roster.peer.replicaId;
    const subscription = { agentId, pattern, group, durable: false, origin };
    if (gone) {
      roster.subscriptions.delete(entryKey(entry));
      this.#init.topics.remove(namespace, subscription);
    } else {
      roster.subscriptions.set(entryKey(entry), entry);
      this.#init.topics.add(namespace, subscription);
    }
  }

  #changeWatch(roster: PeerRoster, entry: RosterWatch, gone: boolean): void {
    const key = entryKey(entry);
    const { namespace, pattern } = entry;
    roster.watches.get(key)?.();
    if (gone) roster.watches.delete(key);
    else {
      const ear = this.#earOf(roster, namespace);
      roster.watches.set(key, this.#init.topics.listen(namespace, pattern, ear, "elsewhere"));
    }
  }

  /** One for all patterns of a namespace, so that what fits several is sent once. */
  #earOf({ peer, ears }: PeerRoster, namespace: string): Ear {
    const known = ears.get(namespace);
    if (known !== undefined) return known;
    const ear: Ear = (published) =>
      void peer.link.send(peer.replicaId, { kind: "publication", namespace, published });
    ears.set(namespace, ear);
    return ear;
  }

  #addAgent(roster: PeerRoster, session: Omit<RosterSession, "kind">): RemoteAgent {
    const key = nameKey(session.namespace, session.agentId);
    const agent = new RemoteAgent(roster.peer, session, roster.agents.get(key));
    roster.agents.set(key, agent);
    this.#choose(agent.namespace, agent.agentId);
    return agent;
  }

  #removeAgent(roster: PeerRoster, { namespace, agentId }: RemoteAgent): void {
    roster.agents.delete(nameKey(namespace, agentId));
    this.#choose(namespace, agentId);
  }

  /** Of several claims that of the newest epoch counts, then the one with a stream. */
  #choose(namespace: string, agentId: string): void {
    const key = nameKey(namespace, agentId);
    let best: RemoteAgent | undefined;
    for (const { agents } of this.#rosters.values()) {
      const claim = agents.get(key);
      if (claim !== undefined && (best === undefined || isNewer(claim, best))) best = claim;
    }
    const agents = this.#byNamespace.get(namespace) ?? new Map<string, RemoteAgent>();
    if (best === undefined) agents.delete(agentId);
    else agents.set(agentId, best);
    if (agents.size === 0) this.#byNamespace.delete(namespace);
    else this.#byNamespace.set(namespace, agents);
  }
}

function isNewer(one: RemoteAgent, other: RemoteAgent): boolean {
  return one.epoch === other.epoch ? one.attached && !other.attached : one.epoch > other.epoch;
}

function agentName({ namespace, agentId, epoch, attached }: RemoteAgent) {
  return { namespace, agentId, epoch, attached };
}

function entryKey(entry: RosterChange["entry"]): string {
  if (entry.kind === "session") return `s ${nameKey(entry.namespace, entry.agentId)}`;
  if (entry.kind === "watch") return `w ${entry.namespace} ${entry.pattern}`;
  return `t ${nameKey(entry.namespace, entry.agentId)} ${entry.group} ${entry.pattern}`;
}
