/** Faults to order, for tests of the fleet and for people who want to see what happens. */
import type { StackDatabase } from "./database.ts";
import { waitUntilReady } from "./readiness.ts";
import type { InstanceName, ProcessName } from "./services.ts";
import type { StackInfo } from "./stack-info.ts";
import type { SupervisedProcess } from "./supervised-process.ts";

const READY_TIMEOUT_MS = 120_000;

/** Acts on single processes of a running stack. Names: those of `info.services`, and `postgres`. */
export interface StackProcesses {
  /** Sends a signal, SIGKILL by default, and resolves when the process has ended; it is then started again by itself.
   *
   * SIGSTOP and SIGCONT, for services only, resolve at once. Use waitReady to wait for the new process. */
  kill(name: ProcessName, signal?: NodeJS.Signals): Promise<void>;
  /** Stops the process in good order, starts it and resolves when it is ready. */
  restart(name: ProcessName): Promise<void>;
  /** Ends the process and keeps it down until start(). */
  stop(name: ProcessName): Promise<void>;
  /** Starts a process that stop() took down and resolves when it is ready. */
  start(name: ProcessName): Promise<void>;
  /** Resolves when the process is ready to serve. */
  waitReady(name: ProcessName, timeoutMs?: number): Promise<void>;
}

/** What the actions work on. */
export interface StackProcessesInput {
  readonly services: ReadonlyMap<InstanceName, SupervisedProcess>;
  readonly database: StackDatabase;
  readonly describe: () => StackInfo;
  /** Writes stack.json anew. */
  readonly publish: () => void;
}

/** Creates the actions. */
export function createStackProcesses(input: StackProcessesInput): StackProcesses {
  const { services, database, describe } = input;
  const service = (name: InstanceName): SupervisedProcess => {
    const found = services.get(name);
    if (found === undefined) throw new TypeError(`the stack has no process ${name}`);
    return found;
  };
  const waitReady = async (name: ProcessName, timeoutMs = READY_TIMEOUT_MS): Promise<void> => {
    if (name === "postgres") return;
    const { ops = "" } = describe().services[name] ?? {};
    await waitUntilReady(ops, timeoutMs);
  };
  const onDatabase = async (action: Promise<void>): Promise<void> => {
    await action;
    input.publish();
  };
  const start = async (name: ProcessName): Promise<void> => {
    if (name === "postgres") return onDatabase(database.resume());
    service(name).start();
    return waitReady(name);
  };
  return {
    kill: (name, signal = "SIGKILL") =>
      name === "postgres" ? onDatabase(database.restart("kill")) : service(name).kill(signal),
    restart: async (name) => {
      if (name === "postgres") return onDatabase(database.restart("stop"));
      await service(name).stop();
      return start(name);
    },
    stop: (name) => (name === "postgres" ? database.takeDown() : service(name).stop()),
    start,
    waitReady,
  };
}
