/** Starts an embedded server in a process of its own, which a test can kill. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { childProcesses, processCommand } from "../src/process-identity.ts";

const OWNER = fileURLToPath(new URL("./_owner.mjs", import.meta.url));

export interface OwnerProcess {
  readonly serverPid: number;
  readonly url: string;
  readonly dataDir: string;
  /** SIGKILL to the owner alone, as the kernel's memory killer would. */
  kill(): Promise<void>;
  /** SIGKILL to the guard first, so that nobody is left to stop the server. */
  killWithGuard(): Promise<void>;
}

export async function startOwner(
  options: {
    readonly dataDir: string;
    readonly durable: boolean;
    readonly removeWhenDone?: boolean;
  },
  user?: { readonly uid: number; readonly gid: number },
): Promise<OwnerProcess> {
  const child = spawn(process.execPath, [OWNER, JSON.stringify(options)], {
    ...user,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const server = await firstLine(child);
  const kill = async () => {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  return {
    serverPid: server.pid,
    url: server.url,
    dataDir: server.dataDir,
    kill,
    killWithGuard: async () => {
      for (const pid of childProcesses(child.pid ?? 0)) {
        if (processCommand(pid)?.includes("nexus-guard") === true) process.kill(pid, "SIGKILL");
      }
      await kill();
    },
  };
}

interface OwnedServer {
  readonly pid: number;
  readonly url: string;
  readonly dataDir: string;
}

async function firstLine(child: ChildProcess): Promise<OwnedServer> {
  const lines = createInterface({ input: child.stdout! });
  const ended = once(child, "exit").then(() => {
    throw new Error("the owner ended before its server was up");
  });
  const [line] = (await Promise.race([once(lines, "line"), ended])) as [string];
  return JSON.parse(line) as OwnedServer;
}
