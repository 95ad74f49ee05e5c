/** A worker process of the bench, seen from the bench. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { resolve as resolvePath } from "node:path";
import process from "node:process";
import { withDeadline } from "@nexus/shared";
import type { AnswerMessage, CommandMessage, CommandTable } from "../processes/command-channel.ts";

/** Long enough for ten thousand registrations on a machine that is busy with other things. */
const CALL_TIMEOUT_MS = 600_000;
const STOP_TIMEOUT_MS = 5_000;

/** A process that takes commands. */
export interface Worker<C extends CommandTable<C>> {
  /** Has the worker run a command.
   *
   * Errors: an Error with what the worker said, or that it ended; deadline after ten minutes. */
  call<K extends keyof C & string>(
    command: K,
    args: Parameters<C[K]>[0],
  ): Promise<Awaited<ReturnType<C[K]>>>;
  /** Ends the process: politely, then not. */
  stop(): Promise<void>;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** How a worker is called, and whether it is looked at. */
export interface WorkerOptions {
  readonly name: string;
  /** Has the process write its CPU profile to <profileDir>/<name>.cpuprofile when it ends. */
  readonly profileDir: string | undefined;
}

/** Starts a program of src/processes. Its standard error is the bench's own. */
export function forkWorker<C extends CommandTable<C>>(
  program: string,
  { name, profileDir }: WorkerOptions,
): Worker<C> {
  const entry = new URL(`../processes/${program}.js`, import.meta.url);
  const child = fork(entry, {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    serialization: "advanced",
    execArgv: [...process.execArgv, ...profileFlags(name, profileDir)],
  });
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  let ended: Error | undefined;
  const end = (how: string) => {
    ended ??= new Error(`the process ${name} ended: ${how}`);
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
  };
  child.once("error", (error) => end(error.message));
  child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
  child.on("message", (message) => {
    const answer = message as AnswerMessage;
    const caller = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (answer.ok) caller?.resolve(answer.result);
    else caller?.reject(new Error(`${name}: ${answer.problem}`));
  });
  const ask = (command: string, args: unknown) =>
    new Promise<unknown>((resolve, reject) => {
      if (ended !== undefined) {
        reject(ended);
        return;
      }
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      child.send({ id: lastId, command, args } satisfies CommandMessage);
    });
  return {
    call: <K extends keyof C & string>(command: K, args: Parameters<C[K]>[0]) =>
      withDeadline(ask(command, args), CALL_TIMEOUT_MS) as Promise<Awaited<ReturnType<C[K]>>>,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      const force = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      if (child.connected) child.disconnect();
      await exited;
      clearTimeout(force);
    },
  };
}

function profileFlags(name: string, folder: string | undefined): string[] {
  if (folder === undefined) return [];
  const file = `${name}.cpuprofile`;
  return ["--cpu-prof", `--cpu-prof-dir=${resolvePath(folder)}`, `--cpu-prof-name=${file}`];
}
