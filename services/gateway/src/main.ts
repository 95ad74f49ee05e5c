import { runService } from "@nexus/runtime";
import { gatewaySchema } from "./config.ts";
import { startServer } from "./server.ts";

await runService({
  service: "gateway",
  schema: gatewaySchema,
  start: (config, signal) => startServer(config, { signal }),
  env: process.env,
});
