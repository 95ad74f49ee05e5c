import { runService } from "@nexus/runtime";
import { meshRouterConfig } from "./config.ts";
import { startServer } from "./server.ts";

await runService({
  service: "mesh-router",
  schema: meshRouterConfig,
  start: (config, signal) => startServer(config, { signal }),
  env: process.env,
});
