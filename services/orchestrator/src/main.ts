/** Runs the orchestrator as a process. */
import process from "node:process";
import { runService } from "@nexus/runtime";
import { schema } from "./config.ts";
import { startServer } from "./server.ts";

/** A task in hand lives through several small collections, and is garbage right afterwards: V8 by itself collects the whole heap three
 * times a second for it at saturation, and compiles anew what that collection drops. Twice what lives is rarely reached. */
const HEAP_GROWTH_PERCENT = 100;

await runService({
  service: "orchestrator",
  schema,
  env: process.env,
  heapGrowthPercent: HEAP_GROWTH_PERCENT,
  start: (config, signal) => startServer(config, { signal }),
});
