/** What a command reads from and writes to besides files: the process's own streams, or those of a test. */
export interface Terminal {
  readonly stdin: TerminalStream<NodeJS.ReadableStream & { destroy(error?: Error): unknown }>;
  readonly stdout: TerminalStream<NodeJS.WritableStream>;
  readonly stderr: TerminalStream<NodeJS.WritableStream>;
}

type TerminalStream<S> = S & { readonly isTTY?: boolean };
