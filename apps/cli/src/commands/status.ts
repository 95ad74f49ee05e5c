import {
  GetStatusResponseSchema,
  ServiceHealth,
  type ServiceObjective,
} from "@nexus/proto/gateway";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { showDuration, showEnum, writeJson, writeLine, writeTable } from "../output.ts";

/** Shows whether the deployment is whole. */
export const statusCommand: CommandSpec = {
  usage: "status",
  about: "Show the health of every service and the objectives; exit code 5 when one is not serving",
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
      writeLine(ctx, "");
      const head = ["objective", "share", "calls", "bad", "budget left", "burn 1h", "burn 5m"];
      writeTable(ctx, head, response.objectives.map(objectiveRow));
    }
    const whole = response.services.every(({ health }) => health === ServiceHealth.SERVING);
    return whole ? EXIT.ok : EXIT.unavailable;
  },
};

function objectiveRow(one: ServiceObjective): string[] {
  return [
    one.name,
    `${Number((one.objective * 100).toFixed(3))} %`,
    String(one.calls),
    String(one.badCalls),
    `${(one.budgetRemaining * 100).toFixed(0)} %`,
    one.burnRateHour.toFixed(1),
    one.burnRateMinutes.toFixed(1),
  ];
}
