import { backoffDelayMs, type Logger } from "@nexus/shared";
import type { Ticks } from "./ticks.ts";

/** What createLoop needs. */
export interface LoopOptions {
  /** For logs. */
  readonly name: string;
  /** Longest pause between the end of a step and the start of the next, in milliseconds. Steps that are short begin this far apart; one
   * that takes more than half of it is followed by the whole pause. */
  readonly intervalMs: number;
  /** First pause after a failure, for a loop whose interval is only in case. @default intervalMs */
  readonly retryMs?: number;
  /** One unit of work. The signal aborts when the loop stops; a step should then end soon. */
  readonly step: (signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

/** Background work that repeats until it is stopped. */
export interface Loop {
  /** Runs the first step at once. A second start does nothing. */
  start(): void;
  /** Runs the next step without waiting for the pause; while a step runs, once more right after it. During the
   * pause that follows a failure it changes nothing, so a broken dependency is not hammered. */
  trigger(): void;
  /** Runs the next step at the next tick of `withinMs`, for a loop that rests as long as there is nothing to do. Cheap to say again. During the
   * pause that follows a failure it changes nothing. */
  soon(withinMs: number): void;
  /** Ends the pause, aborts the running step's signal and waits for it. Never rejects. */
  stop(): Promise<void>;
}

/** The pause after a failure starts at the interval, or at retryMs, but at least at this, and doubles up to FAILURE_PAUSE_MAX_MS. A tenth of it is
 * random: replicas that failed together are not to come back together. */
const FAILURE_PAUSE_MIN_MS = 100;
const FAILURE_PAUSE_MAX_MS = 30_000;
const FAILURE_PAUSE_JITTER = 0.1;

class RepeatingLoop implements Loop {
  readonly #options: LoopOptions;
  readonly #ticks: Ticks;
  readonly #stopping = new AbortController();
  #state: "new" | "pausing" | "running" = "new";
  #again = false;
  /** How soon the next step is wanted. */
  #withinMs = Number.POSITIVE_INFINITY;
  #failures = 0;
  #beganAtMs = 0;
  #endPause: () => void = () => undefined;
  #step: Promise<void> = Promise.resolve();

  constructor(options: LoopOptions, ticks: Ticks) {
    this.#options = options;
    this.#ticks = ticks;
  }

  start(): void {
    if (this.#state === "new") this.#run();
  }

  trigger(): void {
    if (this.#state === "running") this.#again = true;
    if (this.#state === "pausing" && this.#failures === 0) this.#run();
  }

  soon(withinMs: number): void {
    if (withinMs >= this.#withinMs || this.#state === "new") return;
    this.#withinMs = withinMs;
    if (this.#state !== "pausing" || this.#failures > 0) return;
    this.#waitForTick(Math.min(withinMs, this.#options.intervalMs));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#endPause();
    await this.#step;
  }

  #run(): void {
    if (this.#stopping.signal.aborted) return;
    this.#endPause();
    this.#state = "running";
    this.#again = false;
    this.#withinMs = Number.POSITIVE_INFINITY;
    this.#beganAtMs = performance.now();
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
    else if (this.#failures > 0) this.#wait(this.#failurePauseMs());
    else this.#rest(Math.min(this.#options.intervalMs, this.#withinMs));
  }

  #rest(pauseMs: number): void {
    const tookLong = performance.now() - this.#beganAtMs > pauseMs / 2;
    if (tookLong) this.#wait(pauseMs);
    else this.#waitForTick(pauseMs);
  }

  #waitForTick(intervalMs: number): void {
    this.#endPause();
    this.#endPause = this.#ticks.next(intervalMs, () => this.#run());
  }

  #wait(pauseMs: number): void {
    const timer = setTimeout(() => this.#run(), pauseMs);
    this.#endPause = () => clearTimeout(timer);
  }

  #failurePauseMs(): number {
    const { intervalMs, retryMs = intervalMs } = this.#options;
    const initialMs = Math.max(retryMs, FAILURE_PAUSE_MIN_MS);
    const maxMs = Math.max(initialMs, FAILURE_PAUSE_MAX_MS);
    const policy = { initialMs, multiplier: 2, maxMs, jitter: FAILURE_PAUSE_JITTER };
    return backoffDelayMs(this.#failures, policy);
  }
}

/** Creates a loop whose steps never overlap. A step that throws is logged and repeated after a growing pause; the
 * loop itself never ends on its own. Loops of a process share its ticks. */
export function createLoop(options: LoopOptions, ticks: Ticks): Loop {
  return new RepeatingLoop(options, ticks);
}
