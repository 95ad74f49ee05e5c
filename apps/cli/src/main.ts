import { run } from "./program.ts";

const interrupted = new AbortController();
process.once("SIGINT", () => interrupted.abort());
process.exitCode = await run({
  argv: process.argv.slice(2),
  env: process.env,
  terminal: process,
  signal: interrupted.signal,
});
