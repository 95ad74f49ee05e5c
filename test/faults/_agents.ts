/** The agents of the load: processes that are killed and stopped while they work. */
import type { ChildProcess } from "node:child_process";
import { sleep } from "@nexus/shared";
import { LOST_AFTER_MS } from "../e2e/_fleet.ts";
import type { Fault } from "./_nemesis.ts";

/** A pause may outlast an agent's session and, by far, an orchestrator's lease: what then goes on is a zombie. */
export const PAUSE_MIN_MS = 200;
export const PAUSE_MAX_MS = 2 * LOST_AFTER_MS;

const IDS = ["faulty-1", "faulty-2", "faulty-3"] as const;
/** Slots of each of them. */
export const SLOTS_EACH = 4;
/** How many there are. */
export const AGENTS = IDS.length;

/** Tasks of one slot that they run at once. */
export const SLOTS_IN_ALL = AGENTS * SLOTS_EACH;

interface Worker {
  readonly child: ChildProcess;
}

/** Owns the agents that do the appended jobs, so that they can be killed and stopped. */
export class Agents {
  readonly #spawnAgent: (agentId: string, slots: number) => Promise<Worker>;
  readonly #agents = new Map<string, Worker>();

  constructor(spawnAgent: (agentId: string, slots: number) => Promise<Worker>) {
    this.#spawnAgent = spawnAgent;
  }

  /** Starts those that do not run. */
  async start(): Promise<void> {
    await Promise.all(IDS.filter((id) => !this.#agents.has(id)).map((id) => this.#spawn(id)));
  }

  /** Kills one; it is started again. */
  get kill(): Fault {
    return {
      name: "kill an agent",
      play: async (random, say) => {
        const id = random.pick(IDS);
        say(`kills agent ${id}`);
        this.#agents.get(id)?.child.kill("SIGKILL");
        await this.#spawn(id);
      },
    };
  }

  /** Stops one and lets it go on. */
  get pause(): Fault {
    return {
      name: "pause an agent",
      play: async (random, say) => {
        const id = random.pick(IDS);
        const pauseMs = random.between(PAUSE_MIN_MS, PAUSE_MAX_MS);
        say(`pauses agent ${id} for ${pauseMs} ms`);
        this.#agents.get(id)?.child.kill("SIGSTOP");
        await sleep(pauseMs);
        this.#agents.get(id)?.child.kill("SIGCONT");
      },
    };
  }

  async #spawn(id: string): Promise<void> {
    this.#agents.set(id, await this.#spawnAgent(id, SLOTS_EACH));
  }
}
