/** One child process that is kept running until it is told to stop. */
import { type ChildProcess, spawn } from "node:child_process";
import type { ChildGuard } from "./child-guard.ts";
import type { ProcessLog } from "./process-log.ts";
import { createRestartPolicy, type RestartPolicy } from "./restart-policy.ts";

/** Longer than the service's own grace, after which it ends by itself. */
const STOP_TIMEOUT_DEFAULT_MS = 8_000;
const ENDING_SIGNALS: ReadonlySet<string> = new Set([
  "SIGKILL",
  "SIGTERM",
  "SIGINT",
  "SIGQUIT",
  "SIGABRT",
]);

/** What happened to a process. */
export type ProcessEvent =
  | { readonly kind: "started"; readonly pid: number }
  | { readonly kind: "died"; readonly how: string; readonly restartInMs: number | undefined };

/** What to run. */
export interface ProcessSpec {
  readonly name: string;
  /** The program's file, run with this Node. */
  readonly entry: string;
  readonly env: NodeJS.ProcessEnv;
  /** Flags of Node itself. @default none */
  readonly nodeFlags?: readonly string[];
  readonly log: ProcessLog;
  readonly guard: ChildGuard;
  readonly onEvent: (event: ProcessEvent) => void;
  /** @default createRestartPolicy() */
  readonly policy?: RestartPolicy;
  /** How long stop() lets it end by itself. @default 8_000 */
  readonly stopTimeoutMs?: number;
}

/** A child process under supervision. */
export interface SupervisedProcess {
  readonly pid: number | undefined;
  /** Starts it, unless it runs. From now on it is started again whenever it ends. */
  start(): void;
  /** Ends it and keeps it down: SIGTERM, then SIGKILL after stopTimeoutMs. */
  stop(): Promise<void>;
  /** Sends a signal. One that ends processes is waited for; the supervisor then starts the process again. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Rejects with an Error when the process ends while nobody asked it to; for use while waiting for it. */
  readonly untimelyEnd: Promise<never>;
  /** Its last words. */
  tail(): string;
}

/** Creates the supervision of one process; nothing runs until start(). */
export function superviseProcess(spec: ProcessSpec): SupervisedProcess {
  const { policy = createRestartPolicy(), stopTimeoutMs = STOP_TIMEOUT_DEFAULT_MS } = spec;
  let child: ChildProcess | undefined;
  let wanted = false;
  let asked = false;
  let timer: NodeJS.Timeout | undefined;
  let reportEnd: (error: Error) => void = () => undefined;
  const untimelyEnd = new Promise<never>((_resolve, reject) => {
    reportEnd = reject;
  });
  untimelyEnd.catch(() => undefined);

  const start = () => {
    wanted = true;
    clearTimeout(timer);
    if (child !== undefined) return;
    const startedAtMs = performance.now();
    child = spawnChild(spec, (how) => {
      child = undefined;
      if (!wanted) return;
      if (!asked) reportEnd(new Error(`ended unexpectedly (${how})`));
      const delay = restartDelay(policy, asked, startedAtMs);
      asked = false;
      spec.onEvent({ kind: "died", how, restartInMs: delay });
      if (delay === undefined) wanted = false;
      else timer = setTimeout(start, delay);
    });
    if (child.pid !== undefined) spec.onEvent({ kind: "started", pid: child.pid });
  };
  const endBy = async (signal: NodeJS.Signals) => {
    const ending = child;
    if (ending === undefined) return;
    const ended = endOf(ending);
    ending.kill(signal);
    await ended;
  };
  return {
    get pid() {
      return child?.pid;
    },
    start,
    stop: async () => {
      wanted = false;
      clearTimeout(timer);
      const running = child;
      const force = setTimeout(() => running?.kill("SIGKILL"), stopTimeoutMs);
      // A process that was stopped by SIGSTOP does not hear SIGTERM.
      running?.kill("SIGCONT");
      await endBy("SIGTERM");
      clearTimeout(force);
    },
    kill: async (signal) => {
      if (!ENDING_SIGNALS.has(signal)) {
        child?.kill(signal);
        return;
      }
      asked = child !== undefined;
      await endBy(signal);
    },
    untimelyEnd,
    tail: () => spec.log.tail(),
  };
}

/** A death that was asked for, by a test that plays the fault, does not count towards giving up. */
function restartDelay(
  policy: RestartPolicy,
  asked: boolean,
  startedAtMs: number,
): number | undefined {
  return asked ? 0 : policy.delayAfterDeath({ startedAtMs, diedAtMs: performance.now() });
}

function spawnChild(spec: ProcessSpec, onEnd: (how: string) => void): ChildProcess {
  const out = spec.log.open();
  const child = spawn(process.execPath, [...(spec.nodeFlags ?? []), spec.entry], {
    env: spec.env,
    // Ctrl-C in the terminal reaches the supervisor only, which stops the processes in order.
    detached: true,
    // The channel closes when the supervisor dies, which tells the process to end.
    stdio: ["ignore", out, out, "ipc"],
  });
  spec.log.started();
  spec.log.attach(child.stdout, child.stderr);
  const { pid } = child;
  if (pid !== undefined) spec.guard.watch(pid);
  let over = false;
  const end = (how: string) => {
    if (over) return;
    over = true;
    if (pid !== undefined) spec.guard.forget(pid);
    onEnd(how);
  };
  child.once("error", (error) => end(error.message));
  child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
  return child;
}

function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
  });
}
