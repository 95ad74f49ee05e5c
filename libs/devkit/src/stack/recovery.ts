/** Starts a server of the stack again when it ends by itself. */
import { createRestartPolicy } from "./restart-policy.ts";

/** What is kept running. */
export interface RecoveryOptions {
  /** As notices call it. */
  readonly name: string;
  /** Where a person reads why it ended. */
  readonly logFile?: string;
  readonly restart: () => Promise<void>;
  readonly onNotice: (notice: string) => void;
}

/** The recovery of one server. */
export interface Recovery {
  /** To be called when the server has ended and nobody asked for it. */
  ended(): void;
  /** Nothing is started any more. */
  stop(): void;
}

/** Creates the recovery of a server that has just started. */
export function createRecovery(options: RecoveryOptions): Recovery {
  const { name, logFile, restart, onNotice } = options;
  const policy = createRestartPolicy();
  let stopped = false;
  let startedAtMs = performance.now();
  const recover = async () => {
    const delay = policy.delayAfterDeath({ startedAtMs, diedAtMs: performance.now() });
    if (delay === undefined) {
      const hint = logFile === undefined ? "" : `; see ${logFile}`;
      onNotice(`${name} keeps ending and is given up${hint}`);
      return;
    }
    onNotice(`${name} ended unexpectedly, starts again in ${delay} ms`);
    await new Promise((resolve) => setTimeout(resolve, delay));
    if (stopped) return;
    startedAtMs = performance.now();
    await restart();
  };
  return {
    ended: () => {
      recover().catch((error: unknown) => {
        onNotice(`${name} did not start again: ${String(error)}`);
      });
    },
    stop: () => {
      stopped = true;
    },
  };
}
