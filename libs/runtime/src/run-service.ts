import {
  ConfigError,
  ConfigManager,
  type ConfigOfFields,
  type ConfigSchema,
  type Fields,
} from "@nexus/core";
import { createLogger, type Logger, withDeadline } from "@nexus/shared";
import { initTracing, type Tracing } from "@nexus/telemetry";
import { countBuffersAsMemory } from "./buffer-memory.ts";
import type { FrameConfig } from "./frame-config.ts";
import type { RunningService } from "./frame-contract.ts";
import { setHeapGrowth } from "./heap-growth.ts";
import { leaveNewObjectsYoung } from "./pretenuring.ts";

/** What runService needs. */
export interface RunServiceOptions<F extends Fields> {
  /** Short name, e.g. `registry`. */
  readonly service: string;
  readonly schema: ConfigSchema<F>;
  /** Usually `(config, signal) => startServer(config, { signal })`; the signal aborts when a stop is asked for
   * before the start is over. */
  readonly start: (
    config: ConfigManager<ConfigOfFields<F>>,
    signal: AbortSignal,
  ) => Promise<RunningService>;
  /** process.env. */
  readonly env: NodeJS.ProcessEnv;
  /** Arguments of the command; `--print-config` prints the effective configuration and ends. Default those of the process. */
  readonly argv?: readonly string[];
  /** See setHeapGrowth. Left out: what V8 thinks right. */
  readonly heapGrowthPercent?: number;
}

/** After the grace, and after everything closed, the event loop gets this long to run empty. */
const EXIT_MARGIN_MS = 2_000;

/** Runs a service as this process: reads its configuration, starts it, and stops it on SIGTERM or SIGINT.
 *
 * A wrong configuration prints every problem on stderr and sets exit code 1. SIGHUP, and a changed configuration
 * file, reload the dynamic settings. An unhandled rejection or exception is logged and ends the process with 1:
 * its state is unknown. Resolves when the service has stopped. */
export async function runService<F extends Fields>(options: RunServiceOptions<F>): Promise<void> {
  countBuffersAsMemory();
  leaveNewObjectsYoung();
  if (options.heapGrowthPercent !== undefined) setHeapGrowth(options.heapGrowthPercent);
  const config = loadConfig(options);
  if (config === undefined) return;
  if ((options.argv ?? process.argv.slice(2)).includes("--print-config")) {
    printConfig(config);
    return;
  }
  const frame = config as unknown as ConfigManager<FrameConfig>;
  const logger = createLogger({ service: options.service, level: frame.current.logLevel });
  const tracing = await initTracing({
    service: options.service,
    otlpEndpoint: frame.current.otlpEndpoint,
    sampleRatio: frame.current.traceSampleRatio,
  });
  const process_ = new ServiceProcess(logger, frame, tracing);
  await process_.run((signal) => {
    for (const env of config.unknown) logger.warn({ env }, "variable is no known setting");
    return options.start(config, signal);
  });
}

function loadConfig<F extends Fields>(
  options: RunServiceOptions<F>,
): ConfigManager<ConfigOfFields<F>> | undefined {
  try {
    return ConfigManager.load(options.schema, { env: options.env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
    return undefined;
  }
}

function printConfig<T>(config: ConfigManager<T>): void {
  for (const { env, value, source } of config.effective()) {
    process.stdout.write(`${env}=${value}  # ${source}\n`);
  }
}

/** The life of the process around one service. */
class ServiceProcess {
  readonly #logger: Logger;
  readonly #config: ConfigManager<FrameConfig>;
  readonly #tracing: Tracing;
  readonly #stopAsked = new AbortController();

  constructor(logger: Logger, config: ConfigManager<FrameConfig>, tracing: Tracing) {
    this.#logger = logger;
    this.#config = config;
    this.#tracing = tracing;
  }

  async run(start: (signal: AbortSignal) => Promise<RunningService>): Promise<void> {
    this.#listen();
    const { signal } = this.#stopAsked;
    const asked = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    try {
      const service = await start(signal);
      this.#config.watch((outcome) => this.#reportReload(outcome));
      await asked;
      await this.#dispose(service);
      this.#logger.info("service stopped");
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#config.close();
      this.#unlisten();
      await this.#tracing.shutdown();
      this.#exitSoon();
    }
  }

  async #dispose(service: RunningService): Promise<void> {
    const limitMs = this.#config.current.shutdownGraceMs + EXIT_MARGIN_MS;
    const late = () => new Error(`The service did not close within ${limitMs} ms.`);
    await withDeadline(Promise.resolve(service[Symbol.asyncDispose]()), limitMs, late);
  }

  #fail(error: unknown): void {
    if (this.#stopAsked.signal.aborted && isCancelled(error)) {
      this.#logger.info("service stopped before it had started");
      return;
    }
    process.exitCode = 1;
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
    else this.#logger.fatal({ err: error }, "service failed");
  }

  #listen(): void {
    process.on("SIGTERM", this.#onStop);
    process.on("SIGINT", this.#onStop);
    process.on("SIGHUP", this.#onReload);
    process.on("unhandledRejection", this.#onCrash);
    process.on("uncaughtException", this.#onCrash);
  }

  #unlisten(): void {
    process.off("SIGHUP", this.#onReload);
    process.off("unhandledRejection", this.#onCrash);
    process.off("uncaughtException", this.#onCrash);
    // The stop signals stay handled: a second one, as a terminal and a supervisor both send, must not cut the exit short.
  }

  /** The loop should run empty by itself now. Should a library still hold a handle, this says which and ends. */
  #exitSoon(): void {
    setTimeout(() => {
      const resources = process.getActiveResourcesInfo();
      this.#logger.warn({ resources }, "open handles at exit");
      endNow();
    }, EXIT_MARGIN_MS).unref();
  }

  readonly #onStop = (signal: NodeJS.Signals): void => {
    if (this.#stopAsked.signal.aborted) return;
    this.#logger.info({ signal }, "service stopping");
    this.#stopAsked.abort();
    // A start that does not listen to its signal, or a dispose that hangs, ends here and not on the normal path.
    const limitMs = this.#config.current.shutdownGraceMs + 2 * EXIT_MARGIN_MS;
    setTimeout(() => {
      this.#logger.fatal({ limitMs }, "service did not stop in time");
      endNow(1);
    }, limitMs).unref();
  };

  readonly #onReload = (): void => {
    try {
      this.#reportReload({ changes: this.#config.reload() });
    } catch (error) {
      this.#reportReload({ error });
    }
  };

  #reportReload(outcome: Parameters<Parameters<ConfigManager<FrameConfig>["watch"]>[0] & {}>[0]) {
    if ("error" in outcome) {
      this.#logger.error({ err: outcome.error }, "configuration refused, the old one stays");
      return;
    }
    for (const { env, from, to, applied } of outcome.changes) {
      const text = applied ? "setting changed" : "setting changed but needs a restart";
      this.#logger.info({ env, from, to, applied }, text);
    }
  }

  readonly #onCrash = (error: unknown): void => {
    this.#logger.fatal({ err: error }, "unexpected error, the process ends");
    endNow(1);
  };
}

/** Ends the process where the event loop cannot be trusted to run empty. Never on the normal path. */
function endNow(code?: number): void {
  // oxlint-disable-next-line unicorn/no-process-exit -- a hung or broken process must end all the same
  process.exit(code);
}

function isCancelled(error: unknown): boolean {
  return error instanceof Error && "kind" in error && error.kind === "cancelled";
}
