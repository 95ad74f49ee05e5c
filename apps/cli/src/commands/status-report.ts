import {
  GetStatusResponseSchema,
  ServiceHealth,
  type ServiceObjective,
} from "@nexus/proto/gateway";
import type { CommandContext } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showDuration, showEnum, writeJson, writeTable } from "../show.ts";

/** Asks how every service is, and writes it. */
export async function reportStatus(ctx: CommandContext): Promise<number> {
  const response = await ctx.client().status.getStatus({});
  if (ctx.format === "json") {
    writeJson(ctx, GetStatusResponseSchema, response);
  } else if (ctx.format === "name") {
    for (const { name } of response.services) writeLine(ctx, name);
  } else {
    const rows = response.services.map((service) => [
      service.name,
      showEnum(ServiceHealth, service.health),
      service.replicas === 0 ? "-" : `${service.replicasServing}/${service.replicas}`,
      showDuration(service.latency),
      service.message,
    ]);
    writeTable(ctx, ["service", "health", "replicas", "latency", ""], rows);
    writeLine(ctx, "");
    const head = ["objective", "share", "calls", "bad", "budget left", "burn 1h", "burn 5m"];
    writeTable(ctx, head, response.objectives.map(objectiveRow));
  }
  const whole = response.services.every(
    ({ health, replicas, replicasServing }) =>
      health === ServiceHealth.SERVING && replicasServing >= replicas,
  );
  return whole ? EXIT.ok : EXIT.unavailable;
}

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
