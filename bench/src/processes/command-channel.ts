/** How the bench talks to its worker processes: commands over Node's IPC channel, one answer each. */
import process from "node:process";

/** What a worker can be told: one function a command. Arguments and results are copied between the processes. */
export type CommandTable<C> = { readonly [K in keyof C]: (args: never) => Promise<unknown> };

/** A command on its way to a worker. */
export interface CommandMessage {
  readonly id: number;
  readonly command: string;
  readonly args: unknown;
}

/** Its answer. */
export type AnswerMessage =
  | { readonly id: number; readonly ok: true; readonly result: unknown }
  | { readonly id: number; readonly ok: false; readonly problem: string };

/** Serves commands until the bench goes away. Call it once, from a program that was started by forkWorker. */
export function serveCommands<C extends CommandTable<C>>(commands: C): void {
  const table = commands as unknown as Record<string, (args: unknown) => Promise<unknown>>;
  const answer = async ({ id, command, args }: CommandMessage): Promise<AnswerMessage> => {
    try {
      const run = table[command];
      if (run === undefined) throw new Error(`no command ${command}`);
      return { id, ok: true, result: await run(args) };
    } catch (error) {
      return { id, ok: false, problem: describeError(error) };
    }
  };
  process.on("message", (message) => {
    void answer(message as CommandMessage).then((reply) => process.send?.(reply));
  });
  // Ctrl-C in a terminal reaches every process; the bench decides when its workers end.
  process.on("SIGINT", () => undefined);
  process.on("disconnect", () => process.exit(0));
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "reason" in error ? `${String(error.reason)}: ${error.message}` : String(error.stack);
}
