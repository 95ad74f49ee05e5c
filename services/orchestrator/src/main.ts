/** Runs the orchestrator as a process. */
import process from "node:process";
import { runService } from "@nexus/runtime";
import { schema } from "./config.ts";
import { startServer } from "./server.ts";

await runService({
  service: "orchestrator",
  schema,
  env: process.env,
  start: (config, signal) => startServer(config, { signal }),
});
