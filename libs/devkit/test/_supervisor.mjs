/* oxlint-disable typescript/no-unsafe-call, typescript/no-unsafe-member-access, typescript/no-unsafe-assignment, typescript/no-unsafe-argument, typescript/no-unsafe-return, typescript/restrict-template-expressions -- plain JavaScript without types, because Node 20 runs it as it is */
/** Runs a stack of fixtures until it is killed or gets SIGTERM. Argument: the data directory. */
import { fileURLToPath } from "node:url";
import { startStack } from "@nexus/devkit";

const entry = fileURLToPath(new URL("./_fixture-service.mjs", import.meta.url));
const stack = await startStack({
  dataDir: process.argv[2],
  portBase: "free",
  durable: false,
  entryOf: () => entry,
});
process.on("SIGTERM", () => void stack.stop());
