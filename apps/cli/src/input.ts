/** What commands read besides their arguments: files, standard input, and what is typed unseen. Values never come from the
 * command line, where other users and the shell's history see them. */
import { readFileSync, statSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { NexusError } from "@nexus/shared";
import type { CommandArguments, CommandContext, FlagSpec } from "./command.ts";
import { usageError } from "./usage-error.ts";

/** Where a command that needs a value gets it from. */
export const FILE_FLAG: FlagSpec = {
  flags: "--file <file>",
  about: "read it from this file in place of standard input",
};

/** What is to be read. */
export interface InputOptions {
  /** For people, e.g. `the value`. */
  readonly what: string;
  readonly maxBytes: number;
}

/** Reads `--file`, byte for byte, or standard input to its end; on a terminal it is typed, unseen.
 *
 * Errors: USAGE when it cannot be read or is larger than it may be. */
export async function readInput(
  ctx: CommandContext,
  args: CommandArguments,
  options: InputOptions,
): Promise<Buffer> {
  const file = args.text("file");
  if (file !== undefined) return readWhole(file, options);
  if (!ctx.terminal.stdin.isTTY) return readStandardInput(ctx, options);
  return Buffer.from(await askHidden(ctx, capitalised(options.what)));
}

/** Drops the newline that `echo` and editors put behind a value. */
export function withoutNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

/** Asks on the terminal without showing what is typed. */
export async function askHidden(ctx: CommandContext, what: string): Promise<string> {
  const { stdin, stderr } = ctx.terminal;
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const prompt = createInterface({ input: stdin, output: silent, terminal: true });
  stderr.write(`${what}: `);
  try {
    return await prompt.question("", { signal: ctx.signal });
  } finally {
    prompt.close();
    stderr.write("\n");
  }
}

function readWhole(file: string, options: InputOptions): Buffer {
  try {
    // Asked before it is read: it may be a disk.
    if (statSync(file).size > options.maxBytes) throw tooLarge(options);
    return readFileSync(file);
  } catch (error) {
    if (error instanceof NexusError) throw error;
    throw usageError(`The file ${file} cannot be read.`);
  }
}

/** Reads standard input to its end.
 *
 * Errors: USAGE when it is larger than it may be. */
export async function readStandardInput(
  { terminal, signal }: CommandContext,
  options: InputOptions,
): Promise<Buffer> {
  const { stdin } = terminal;
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  const stop = () => stdin.destroy(new Error("interrupted"));
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of stdin) {
      chunks.push(chunk as Buffer);
      sizeBytes += (chunk as Buffer).byteLength;
      if (sizeBytes > options.maxBytes) throw tooLarge(options);
    }
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return Buffer.concat(chunks);
}

function tooLarge({ what, maxBytes }: InputOptions): NexusError {
  return usageError(`${capitalised(what)} has more than ${maxBytes} bytes.`);
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
