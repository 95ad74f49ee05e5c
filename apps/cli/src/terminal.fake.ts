import { PassThrough, Readable, Writable } from "node:stream";
import type { Terminal } from "./terminal.ts";

/** Streams that no terminal is behind: standard input is given beforehand, what is written is kept. */
export interface FakeTerminal {
  readonly terminal: Terminal;
  readonly stdout: () => string;
  readonly stderr: () => string;
}

/** Makes a terminal whose standard input is this text. */
export function createFakeTerminal(input = ""): FakeTerminal {
  const [out, err] = [keepWritten(), keepWritten()];
  const stdin = Readable.from(input === "" ? [] : [Buffer.from(input)]).pipe(new PassThrough());
  return {
    terminal: { stdin, stdout: out.stream, stderr: err.stream },
    stdout: out.text,
    stderr: err.text,
  };
}

function keepWritten() {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString() };
}
