import { backoffDelayMs, type Logger } from "@nexus/shared";

/** What createLoop needs. */
export interface LoopOptions {
  /** For logs. */
  readonly name: string;
  /** Pause between the end of a step and the start of the next, in milliseconds. */
  readonly intervalMs: number;
  /** One unit of work. The signal aborts when the loop stops; a step should then end soon. */
  readonly step: (signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
  /** Share of the pause that is random, 0 to 1, so that replicas do not work in step; default 0.1. */
  readonly jitter?: number;
}

/** Background work that repeats until it is stopped. */
export interface Loop {
  /** Runs the first step at once. A second start does nothing. */
  start(): void;
  /** Runs the next step without waiting for the pause; while a step runs, once more right after it. During the
   * pause that follows a failure it changes nothing, so a broken dependency is not hammered. */
  trigger(): void;
  /** Ends the pause, aborts the running step's signal and waits for it. Never rejects. */
  stop(): Promise<void>;
}

const JITTER_DEFAULT = 0.1;
/** The pause after a failure starts at the interval, but at least at this, and doubles up to FAILURE_PAUSE_MAX_MS. */
const FAILURE_PAUSE_MIN_MS = 100;
const FAILURE_PAUSE_MAX_MS = 30_000;

class RepeatingLoop implements Loop {
  readonly #options: LoopOptions;
  readonly #stopping = new AbortController();
  #state: "new" | "pausing" | "running" = "new";
  #again = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #step: Promise<void> = Promise.resolve();

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#state === "new") this.#run();
  }

  trigger(): void {
    if (this.#state === "running") this.#again = true;
    if (this.#state === "pausing" && this.#failures === 0) this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await this.#step;
  }

  #run(): void {
    if (this.#stopping.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#state = "running";
    this.#again = false;
    this.#step = this.#guardedStep().then(() => this.#pause());
  }

  async #guardedStep(): Promise<void> {
    const { name, step, logger } = this.#options;
    const { signal } = this.#stopping;
    try {
      await step(signal);
      const failures = this.#failures;
      this.#failures = 0;
      if (failures > 0) logger.info({ loop: name, failures }, "loop recovered");
    } catch (error) {
      if (signal.aborted) return;
      this.#failures++;
      logger.warn({ loop: name, failures: this.#failures, err: error }, "loop step failed");
    }
  }

  #pause(): void {
    if (this.#stopping.signal.aborted) return;
    this.#state = "pausing";
    if (this.#again && this.#failures === 0) this.#run();
    else this.#timer = setTimeout(() => this.#run(), this.#pauseMs());
  }

  #pauseMs(): number {
    const { intervalMs, jitter = JITTER_DEFAULT } = this.#options;
    const initialMs =
      this.#failures === 0 ? intervalMs : Math.max(intervalMs, FAILURE_PAUSE_MIN_MS);
    const maxMs = Math.max(initialMs, FAILURE_PAUSE_MAX_MS);
    return backoffDelayMs(this.#failures, { initialMs, multiplier: 2, maxMs, jitter });
  }
}

/** Creates a loop whose steps never overlap. A step that throws is logged and repeated after a growing pause; the
 * loop itself never ends on its own. */
export function createLoop(options: LoopOptions): Loop {
  return new RepeatingLoop(options);
}
