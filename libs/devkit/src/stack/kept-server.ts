/** A server that services need, kept running, and taken away for a while by who plays a fault. */
import { createRestartPolicy, type RestartPolicy } from "./restart-policy.ts";

/** What a server can be told; none of it counts as ending by itself. */
export interface Server {
  stop(): Promise<void>;
  /** Kills it as a crash would. */
  kill(): Promise<void>;
  /** Stops it, if it runs, and starts it. */
  restart(): Promise<void>;
}

/** What is kept running. */
export interface KeptServerOptions {
  /** As notices call it. */
  readonly name: string;
  /** Where a person reads why it ended. */
  readonly logFile?: string;
  readonly onNotice: (notice: string) => void;
  /** Called when it runs again after it ended by itself. */
  readonly onRestarted: () => void;
  /** @default createRestartPolicy() */
  readonly policy?: RestartPolicy;
}

/** One server under supervision. What it is told is done one after the other. */
export class KeptServer {
  readonly #options: KeptServerOptions;
  readonly #policy: RestartPolicy;
  #server: Server | undefined;
  #startedAtMs = performance.now();
  /** Grows with everything that it is told: a recovery that waited meanwhile has nothing left to do. */
  #orders = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: KeptServerOptions) {
    this.#options = options;
    this.#policy = options.policy ?? createRestartPolicy();
  }

  /** Begins to keep a server that has just started. */
  keep(server: Server): void {
    this.#server = server;
    this.#startedAtMs = performance.now();
  }

  /** To be called when the server has ended and nobody asked for it: starts it again, after a while that grows while it ends young or
   * does not start, until the policy gives up. */
  ended(): void {
    void this.#recover(this.#orders);
  }

  /** Stops, or kills as a power cut would, and starts again. */
  async restart(how: "stop" | "kill"): Promise<void> {
    await this.#order(async (server) => {
      if (how === "kill") await server.kill();
      await server.restart();
    });
  }

  /** Kills it and keeps it down until resume(). */
  takeDown(): Promise<void> {
    return this.#order((server) => server.kill());
  }

  resume(): Promise<void> {
    return this.#order((server) => server.restart());
  }

  /** Stops it for good. */
  stop(): Promise<void> {
    return this.#order((server) => server.stop());
  }

  #order(work: (server: Server) => Promise<void>): Promise<void> {
    this.#orders += 1;
    return this.#inTurn((server) => {
      // Whatever began to recover while this waited has nothing left to do either.
      this.#orders += 1;
      this.#startedAtMs = performance.now();
      return work(server);
    });
  }

  #inTurn(work: (server: Server) => Promise<void>): Promise<void> {
    const turn = this.#last.then(async () => {
      if (this.#server !== undefined) await work(this.#server);
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #recover(orders: number): Promise<void> {
    const { name, logFile, onNotice, onRestarted } = this.#options;
    const isStillNeeded = () => orders === this.#orders;
    let what = "ended unexpectedly";
    while (isStillNeeded()) {
      const death = { startedAtMs: this.#startedAtMs, diedAtMs: performance.now() };
      const delayMs = this.#policy.delayAfterDeath(death);
      if (delayMs === undefined) {
        const hint = logFile === undefined ? "" : `; see ${logFile}`;
        return onNotice(`${name} keeps ending and is given up${hint}`);
      }
      onNotice(`${name} ${what}, starts again in ${delayMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      try {
        await this.#inTurn(async (server) => {
          if (!isStillNeeded()) return;
          this.#startedAtMs = performance.now();
          await server.restart();
        });
      } catch (error) {
        what = `did not start (${String(error)})`;
        continue;
      }
      return isStillNeeded() ? onRestarted() : undefined;
    }
    return undefined;
  }
}
