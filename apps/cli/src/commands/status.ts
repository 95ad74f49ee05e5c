import { GetStatusResponseSchema, ServiceHealth } from "@nexus/proto/gateway";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { showDuration, showEnum, writeJson, writeLine, writeTable } from "../output.ts";

/** Shows whether the deployment is whole. */
export const statusCommand: CommandSpec = {
  usage: "status",
  about: "Show the health of every service; exit code 5 when one is not serving",
  example: "nexus status",
  run: async (ctx) => {
    const response = await ctx.client().status.getStatus({});
    if (ctx.format === "json") {
      writeJson(ctx, GetStatusResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { name } of response.services) writeLine(ctx, name);
    } else {
      const rows = response.services.map((service) => [
        service.name,
        showEnum(ServiceHealth, service.health),
        showDuration(service.latency),
        service.message,
      ]);
      writeTable(ctx, ["service", "health", "latency", ""], rows);
    }
    const whole = response.services.every(({ health }) => health === ServiceHealth.SERVING);
    return whole ? EXIT.ok : EXIT.unavailable;
  },
};
