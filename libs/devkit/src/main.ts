/** The program behind `npm start`. The only file here that touches argv, signals and the terminal. */
import { NexusError } from "@nexus/shared";
import { renderBanner } from "./banner.ts";
import { type Stack, startStack } from "./stack/start-stack.ts";
import { parseStartArguments, type StartArguments, USAGE } from "./start-arguments.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const PARENT_POLL_MS = 500;

const parsed = parseStartArguments(process.argv.slice(2));
if (parsed.kind === "help") console.log(USAGE);
else if (parsed.kind === "usage") {
  console.error(`${parsed.problem}\n\n${USAGE}`);
  process.exitCode = EXIT_USAGE;
} else await run(parsed.start);

async function run(args: StartArguments): Promise<void> {
  const stopRequested = requestStop();
  const startedAt = performance.now();
  console.log("NEXUS is starting ...");
  let stack: Stack;
  try {
    stack = await startStack({
      dataDir: args.dataDir,
      portBase: args.portBase,
      orchestrators: args.orchestrators,
      meshRouters: args.meshRouters,
      logs: args.logs,
      tls: args.tls || process.env["NEXUS_TLS"] === "1",
      ...(args.logLevel === undefined ? {} : { logLevel: args.logLevel }),
      signal: stopRequested,
      ...(args.logs === "prefix" ? {} : { onNotice: (notice) => console.log(notice) }),
    });
  } catch (error) {
    if (stopRequested.aborted) return console.log("NEXUS start was called off.");
    console.error(`NEXUS did not start: ${describe(error)}`);
    process.exitCode = EXIT_FAILED;
    return undefined;
  }
  console.log(`\n${renderBanner(stack.info, performance.now() - startedAt, process.cwd())}\n`);
  if (!stopRequested.aborted) {
    await new Promise((resolve) => stopRequested.addEventListener("abort", resolve));
  }
  console.log("\nNEXUS is stopping ...");
  await stack.stop();
  console.log("NEXUS has stopped; the data is kept.");
}

/** Aborts at the first signal; the second one ends this process at once, and the guards end the rest. */
function requestStop(): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(EXIT_FAILED);
    controller.abort(new Error("stop requested"));
  };
  for (const name of STOP_SIGNALS) process.on(name, stop);
  watchNpm(() => controller.abort(new Error("npm has ended")));
  return controller.signal;
}

/** npm runs us behind a shell that does not pass SIGTERM on: when npm and its shell are gone, so is the wish for a stack. */
function watchNpm(onGone: () => void): void {
  if (process.env["npm_lifecycle_event"] === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onGone();
  }, PARENT_POLL_MS);
  timer.unref();
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof NexusError ? error.message : (error.stack ?? error.message);
}
