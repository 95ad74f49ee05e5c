/** Agents that share a connection to a gateway, which lets it have 1 000 streams (`NEXUS_GATEWAY_MAX_CONCURRENT_STREAMS`): ten for each, one
 * of which is its session, the others its watches and calls. */
export const AGENTS_PER_CONNECTION = 100;

/** A place at a connection. */
export interface Seat {
  /** Numbers the connections to one gateway from 0. */
  readonly connection: number;
  /** Gives the place to another agent. Safe to call twice. */
  leave(): void;
}

/** Gives each agent of a process a place at the first connection that has one. */
export class Seats {
  /** Agents at each connection, by gateway. */
  readonly #taken = new Map<string, number[]>();

  take(gateway: string): Seat {
    const taken = this.#taken.get(gateway) ?? [];
    this.#taken.set(gateway, taken);
    const free = taken.findIndex((agents) => agents < AGENTS_PER_CONNECTION);
    const connection = free === -1 ? taken.length : free;
    taken[connection] = (taken[connection] ?? 0) + 1;
    let hasLeft = false;
    return {
      connection,
      leave: () => {
        if (hasLeft) return;
        hasLeft = true;
        taken[connection] = (taken[connection] ?? 1) - 1;
        if (taken.every((agents) => agents === 0)) this.#taken.delete(gateway);
      },
    };
  }
}
