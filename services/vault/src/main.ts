import { runService } from "@nexus/runtime";
import { vaultSchema } from "./config.ts";
import { startServer } from "./server.ts";

await runService({
  service: "vault",
  schema: vaultSchema,
  start: (config, signal) => startServer(config, { signal }),
  env: process.env,
});
