import { EXIT } from "./exit-codes.ts";
import { run } from "./program.ts";

const over = new AbortController();
let unread = false;
process.once("SIGINT", () => over.abort());
for (const output of [process.stdout, process.stderr]) {
  // `nexus jobs watch ... | head -1`: nobody reads on, so there is nothing left to do.
  output.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    unread = true;
    process.exitCode = EXIT.unread;
    over.abort();
  });
}
const code = await run({
  argv: process.argv.slice(2),
  env: process.env,
  terminal: process,
  signal: over.signal,
});
process.exitCode = unread ? EXIT.unread : code;
