import type { CommandSpec } from "../command.ts";

/** Shows whether the deployment is whole. */
export const statusCommand: CommandSpec = {
  usage: "status",
  about:
    "Show the health of every service and the objectives; exit code 5 when a replica of one is not serving",
  example: "nexus status",
  run: async (ctx) => (await import("./status-report.ts")).reportStatus(ctx),
};
