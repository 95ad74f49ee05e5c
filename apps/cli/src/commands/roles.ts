import { randomUUID } from "node:crypto";
import { ListRolesResponseSchema } from "@nexus/proto/vault";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showTime, writeJson, writeTable } from "../show.ts";
import { absent } from "./absent.ts";
import { parseLimit } from "./numbers.ts";

/** Lists roles. */
export const rolesListCommand: CommandSpec = {
  usage: "roles list",
  about: "List the roles of the namespace",
  example: "nexus roles list",
  flags: [{ flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" }],
  run: async (ctx, args) => {
    const page = { pageSize: parseLimit(args.text("limit")) };
    const response = await ctx.client().access.listRoles({ page });
    if (ctx.format === "json") {
      writeJson(ctx, ListRolesResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { name } of response.roles) writeLine(ctx, name);
    } else {
      const rows = response.roles.map((role) => [
        role.name,
        showTime(role.updateTime),
        role.scopes.join(" "),
      ]);
      writeTable(ctx, ["role", "changed", "scopes"], rows);
    }
    return EXIT.ok;
  },
};

const WHEN_IT_COUNTS =
  "What it gained reaches the SDK's agents and clients with the first call that is refused without it, other holders of a token when " +
  "that is renewed; `nexus tokens revoke --principal` makes it now.";

/** Creates or replaces a role. */
export const rolesPutCommand: CommandSpec = {
  usage: "roles put <role>",
  about: "Create a role or replace it whole; what it loses ends in running tokens within a second",
  example: "nexus roles put reader --scope 'registry:agent:read' --scope 'orchestrator:job:read'",
  flags: [
    { flags: "--scope <scope>", about: "what whoever has it may do", many: true },
    { flags: "--description <text>", about: "what it is for" },
  ],
  run: async (ctx, args) => {
    const { role } = await ctx.client().access.putRole({
      requestId: randomUUID(),
      name: args.at(0),
      description: args.text("description") ?? "",
      scopes: [...args.texts("scope")],
    });
    writeLine(ctx, `Role ${role?.name}: ${role?.scopes.join(" ")}`);
    if (ctx.format === "table") ctx.terminal.stderr.write(`${WHEN_IT_COUNTS}\n`);
    return EXIT.ok;
  },
};

/** Removes a role. */
export const rolesDeleteCommand: CommandSpec = {
  usage: "roles delete <role>",
  about: "Remove a role that nobody has",
  example: "nexus roles delete reader",
  run: async (ctx, args) => {
    const name = args.at(0);
    const { wasAbsent } = await ctx.client().access.deleteRole({ requestId: randomUUID(), name });
    if (wasAbsent) throw absent("ROLE_NOT_FOUND", `The namespace has no role ${name}.`);
    writeLine(ctx, `Deleted ${name}.`);
    return EXIT.ok;
  },
};

/** Sets the roles of a principal. */
export const rolesAssignCommand: CommandSpec = {
  usage: "roles assign <principal>",
  about: "Set which roles a principal has; without --role it has none",
  example: "nexus roles assign my-agent --role reader",
  flags: [{ flags: "--role <role>", about: "one of all its roles", many: true }],
  run: async (ctx, args) => {
    const { principal } = await ctx.client().access.setPrincipalRoles({
      requestId: randomUUID(),
      principalId: args.at(0),
      roles: [...args.texts("role")],
    });
    writeLine(ctx, `Roles of ${principal?.principalId}: ${principal?.roles.join(" ")}`);
    return EXIT.ok;
  },
};
