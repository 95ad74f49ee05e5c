/** The way to other replicas, over the bus: messages one by one, the bus sends them together. */
import type { Bus, BusGap } from "@nexus/bus";
import type { Clock } from "@nexus/shared";
import { ROSTER_KEPT_MS, ROSTER_PART_CHANGES } from "../domain/limits.ts";
import type { Exchange } from "../domain/remote/exchange.ts";
import type { ReplicaLink, Roster } from "../domain/remote/remote-ports.ts";
import type { RosterJournal } from "../domain/remote/roster-journal.ts";
import { decodeItem, encodeItem } from "./replica-wire.ts";
import { decodeKept, decodeRoster, encodeKept, encodeRoster } from "./roster-wire.ts";

const ITEM = "mesh.item";
const NEWS = "mesh.roster";
const ASK = "mesh.roster-ask";
const KEPT = "mesh.roster-kept";
const NOTHING = new Uint8Array();

/** Creates what sends messages. */
export function createReplicaLink(bus: Bus, clock: Clock): ReplicaLink {
  return {
    get isConnected() {
      return bus.isConnected;
    },
    send: (replicaId, item) => bus.publish(replicaId, ITEM, encodeItem(item, clock.nowMs())),
  };
}

/** What hears the other replicas, and tells them of this one. */
export interface ReplicaTellerInit {
  readonly bus: Bus;
  readonly exchange: Exchange;
  readonly roster: RosterJournal;
  readonly clock: Clock;
  /** There is something to do for step(). */
  readonly wake: () => void;
  readonly onFailed: (error: unknown) => void;
}

/** Owns what is said of rosters. News go to all at once; a whole roster lies in the bus's cache for whoever asks. */
export class ReplicaTeller {
  readonly #init: ReplicaTellerInit;
  readonly #leave: (() => void)[];
  /** Somebody wants this replica's whole roster. */
  #isAsked = false;

  constructor(init: ReplicaTellerInit) {
    this.#init = init;
    const { bus, exchange, clock, wake } = init;
    const onGap = ({ from }: BusGap): void => {
      exchange.rosters.doubt(from);
      wake();
    };
    // Whoever still wants to know asks again.
    const ignoreGap = (): void => undefined;
    this.#leave = [
      bus.watchPeers({
        peerJoined: (replicaId) => {
          exchange.peerJoined(replicaId);
          wake();
        },
        peerLost: (replicaId) => exchange.peerLost(replicaId),
      }),
      bus.subscribe(ITEM, {
        onMessage: ({ from, body }) => {
          const item = decodeItem(body, clock.nowMs());
          if (item !== undefined) exchange.take(from, item);
        },
        // A lost message has its outcome by its deadline; a lost publication nobody else tells of.
        onGap: () => exchange.missed(),
      }),
      bus.subscribe(NEWS, {
        onMessage: ({ from, body }) => {
          exchange.rosters.told(from, decodeRoster(body));
          if (exchange.rosters.unknown.includes(from)) wake();
        },
        onGap,
      }),
      bus.subscribe(ASK, {
        onMessage: () => {
          this.#isAsked = true;
          wake();
        },
        onGap: ignoreGap,
      }),
      bus.subscribe(KEPT, {
        onMessage: ({ from, body }) => {
          // What could not be read is asked for again with the next step.
          this.#read(from, decodeKept(body)).catch(init.onFailed);
        },
        onGap: ignoreGap,
      }),
    ];
  }

  /** Tells what is new, answers who asked, and asks whose roster is not known. */
  async step(): Promise<void> {
    const { bus, exchange, roster } = this.#init;
    for (let news = roster.takeNews(); news !== undefined; news = roster.takeNews()) {
      // What is not taken leaves a gap, and whoever finds it asks.
      bus.broadcast(NEWS, encodeRoster(news, false));
    }
    if (this.#isAsked) {
      this.#isAsked = false;
      await this.#keep(roster.whole());
    }
    for (const replicaId of exchange.rosters.unknown) bus.publish(replicaId, ASK, NOTHING);
  }

  /** Hears nothing any more. */
  close(): void {
    for (const leave of this.#leave) leave();
  }

  async #keep({ sequence, changes }: Roster): Promise<void> {
    const { bus } = this.#init;
    const parts = Math.max(1, Math.ceil(changes.length / ROSTER_PART_CHANGES));
    for (let part = 0; part < parts; part += 1) {
      const from = part * ROSTER_PART_CHANGES;
      const own = changes.slice(from, from + ROSTER_PART_CHANGES);
      const bytes = encodeRoster({ sequence, changes: own }, true);
      if (!(await bus.remember(keyOf(bus.replicaId, part), bytes, ROSTER_KEPT_MS))) return;
    }
    bus.broadcast(KEPT, encodeKept({ sequence, parts }));
  }

  async #read(
    from: string,
    { sequence, parts }: { sequence: number; parts: number },
  ): Promise<void> {
    const { bus, exchange } = this.#init;
    if (!exchange.rosters.unknown.includes(from)) return;
    const changes: Roster["changes"][number][] = [];
    for (let part = 0; part < parts; part += 1) {
      const bytes = await bus.recall(keyOf(from, part));
      if (bytes === undefined) return;
      const roster = decodeRoster(bytes);
      // Written anew meanwhile: another word that it is kept follows.
      if (roster.sequence !== sequence) return;
      changes.push(...roster.changes);
    }
    exchange.rosters.toldAll(from, { sequence, changes });
  }
}

function keyOf(replicaId: string, part: number): string {
  return `roster/${replicaId}/${part}`;
}
