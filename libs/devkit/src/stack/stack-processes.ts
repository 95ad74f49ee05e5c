/** Faults to order, for tests of the fleet and for people who want to see what happens. */
import { waitUntilReady } from "./readiness.ts";
import type { InstanceName, ProcessName } from "./services.ts";
import type { StackInfo } from "./stack-info.ts";
import type { StackServers } from "./stack-servers.ts";
import type { SupervisedProcess } from "./supervised-process.ts";

const READY_TIMEOUT_MS = 120_000;

/** Acts on single processes of a running stack. Names: those of `info.services`, `postgres`, and `redis` where there is one. */
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
  readonly servers: StackServers;
  readonly describe: () => StackInfo;
  /** Writes stack.json anew. */
  readonly publish: () => void;
}

/** Creates the actions. */
export function createStackProcesses(input: StackProcessesInput): StackProcesses {
  const { services, servers, describe } = input;
  const known = <T>(name: ProcessName, found: T | undefined): T => {
    if (found === undefined) throw new TypeError(`the stack has no process ${name}`);
    return found;
  };
  const service = (name: InstanceName) => known(name, services.get(name));
  const server = (name: ServerName) => known(name, servers[name]?.kept);
  const waitReady = async (name: ProcessName, timeoutMs = READY_TIMEOUT_MS): Promise<void> => {
    if (isServer(name)) return;
    const { ops = "" } = describe().services[name] ?? {};
    await waitUntilReady(ops, timeoutMs);
  };
  const published = async (action: Promise<void>): Promise<void> => {
    await action;
    input.publish();
  };
  const start = async (name: ProcessName): Promise<void> => {
    if (isServer(name)) return published(server(name).resume());
    service(name).start();
    return waitReady(name);
  };
  return {
    kill: (name, signal = "SIGKILL") =>
      isServer(name) ? published(server(name).restart("kill")) : service(name).kill(signal),
    restart: async (name) => {
      if (isServer(name)) return published(server(name).restart("stop"));
      await service(name).stop();
      return start(name);
    },
    stop: (name) => (isServer(name) ? server(name).takeDown() : service(name).stop()),
    start,
    waitReady,
  };
}

type ServerName = Exclude<ProcessName, InstanceName>;

function isServer(name: ProcessName): name is ServerName {
  return name === "postgres" || name === "redis";
}
