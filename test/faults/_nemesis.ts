/** Faults, one after the other, chosen by a seed. Whatever it stops goes on before the next one. */
import type { ChildProcess } from "node:child_process";
import type { ServiceName } from "@nexus/devkit";
import { sleep } from "@nexus/shared";
import { LOST_AFTER_MS, type TestFleet } from "../e2e/_fleet.ts";
import type { Random } from "./_random.ts";

/** Pause between the end of a fault and the next. */
const CALM_MIN_MS = 300;
const CALM_MAX_MS = 2_000;
/** A pause may outlast an agent's session: what then goes on is a zombie. */
const PAUSE_MIN_MS = 200;
const PAUSE_MAX_MS = 2 * LOST_AFTER_MS;

/** What the faults are played on. */
export interface NemesisInit {
  readonly fleet: TestFleet;
  /** Ids of the agents, each a process of its own. */
  readonly agentIds: readonly [string, ...string[]];
  readonly slots: number;
  readonly random: Random;
  readonly progress: (text: string) => void;
}

type Fault = "kill a service" | "pause a service" | "kill an agent" | "pause an agent";

const FAULTS: readonly [Fault, ...Fault[]] = [
  "kill a service",
  "pause a service",
  "kill an agent",
  "pause an agent",
];
const VICTIMS: readonly [ServiceName, ...ServiceName[]] = ["orchestrator", "mesh-router"];

/** Owns the agents' processes and ends or stops what it likes. */
export class Nemesis {
  readonly #init: NemesisInit;
  readonly #agents = new Map<string, ChildProcess>();
  readonly #played = new Map<Fault, number>();

  constructor(init: NemesisInit) {
    this.#init = init;
  }

  /** Faults so far. */
  get faults(): number {
    return [...this.#played.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Starts the agents. */
  async begin(): Promise<void> {
    for (const agentId of this.#init.agentIds) await this.#spawn(agentId);
  }

  /** Plays faults until the signal aborts; everything runs when it resolves. */
  async run(signal: AbortSignal): Promise<void> {
    const { random } = this.#init;
    // Every kind once, in an order of its own, so that a short run has seen them all; then at random.
    const first = [...FAULTS].sort(() => random.next() - 0.5);
    for (;;) {
      await sleep(random.between(CALM_MIN_MS, CALM_MAX_MS), signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.#play(first.shift() ?? random.pick(FAULTS));
    }
  }

  async #play(fault: Fault): Promise<void> {
    const { fleet, random, agentIds } = this.#init;
    const { processes } = fleet.stack;
    const service = random.pick(VICTIMS);
    const agentId = random.pick(agentIds);
    const pauseMs = random.between(PAUSE_MIN_MS, PAUSE_MAX_MS);
    this.#played.set(fault, (this.#played.get(fault) ?? 0) + 1);
    switch (fault) {
      case "kill a service":
        this.#say(`kills ${service}`);
        await processes.kill(service);
        await processes.waitReady(service);
        break;
      case "pause a service":
        this.#say(`pauses ${service} for ${pauseMs} ms`);
        await processes.kill(service, "SIGSTOP");
        await sleep(pauseMs);
        await processes.kill(service, "SIGCONT");
        await processes.waitReady(service);
        break;
      case "kill an agent":
        this.#say(`kills agent ${agentId}`);
        this.#agents.get(agentId)?.kill("SIGKILL");
        await this.#spawn(agentId);
        break;
      case "pause an agent":
        this.#say(`pauses agent ${agentId} for ${pauseMs} ms`);
        this.#agents.get(agentId)?.kill("SIGSTOP");
        await sleep(pauseMs);
        this.#agents.get(agentId)?.kill("SIGCONT");
        break;
    }
  }

  async #spawn(agentId: string): Promise<void> {
    this.#agents.set(agentId, await this.#init.fleet.spawnAgent(agentId, this.#init.slots));
  }

  #say(what: string): void {
    this.#init.progress(`fault ${this.faults}: ${what}`);
  }
}
