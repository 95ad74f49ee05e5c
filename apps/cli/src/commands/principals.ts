import { randomUUID } from "node:crypto";
import { ListPrincipalsResponseSchema, PrincipalKind } from "@nexus/proto/vault";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { PASSWORD_STDIN_FLAG, readPassword } from "../password.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseLimit } from "./numbers.ts";

const FIRST_PASSWORD = { prompt: "Password of the user", variable: "NEXUS_NEW_PASSWORD" };

/** Creates a user or an agent. */
export const principalsCreateCommand: CommandSpec = {
  usage: "principals create <principal>",
  about: "Create an agent, whose secret is printed once, or a user",
  example: "nexus principals create my-agent --kind agent",
  flags: [
    { flags: "--kind <kind>", about: "agent or user", default: "agent" },
    { flags: "--scope <scope>", about: "grant this instead of the usual scopes", many: true },
    {
      flags: "--namespace <name>",
      about: "the tenant it is of, which begins with its first principal; your own if left out",
    },
    {
      ...PASSWORD_STDIN_FLAG,
      about: "read a user's password from standard input; else NEXUS_NEW_PASSWORD or the terminal",
    },
  ],
  run: async (ctx, args) => {
    const kind = args.text("kind");
    if (kind !== "agent" && kind !== "user") throw usageError("--kind is agent or user.");
    const password = kind === "user" ? await readPassword(ctx, args, FIRST_PASSWORD) : "";
    const response = await ctx.client().principals.createPrincipal({
      requestId: randomUUID(),
      principalId: args.at(0),
      kind: kind === "agent" ? PrincipalKind.AGENT : PrincipalKind.USER,
      scopes: [...args.texts("scope")],
      password,
      namespace: args.text("namespace") ?? "",
    });
    const { principal, clientSecret } = response;
    if (ctx.format === "json") {
      writeLine(ctx, JSON.stringify({ principalId: principal?.principalId, clientSecret }));
    } else {
      writeLine(ctx, `Created ${kind} ${principal?.principalId}: ${principal?.scopes.join(" ")}`);
      if (clientSecret !== "") writeLine(ctx, `client secret (shown once): ${clientSecret}`);
    }
    return EXIT.ok;
  },
};

/** Lists identities. */
export const principalsListCommand: CommandSpec = {
  usage: "principals list",
  about: "List the users and agents of the namespace",
  example: "nexus principals list",
  flags: [{ flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" }],
  run: async (ctx, args) => {
    const page = { pageSize: parseLimit(args.text("limit")) };
    const response = await ctx.client().principals.listPrincipals({ page });
    if (ctx.format === "json") {
      writeJson(ctx, ListPrincipalsResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { principalId } of response.principals) writeLine(ctx, principalId);
    } else {
      const rows = response.principals.map((one) => [
        one.principalId,
        showEnum(PrincipalKind, one.kind),
        one.disabled ? "disabled" : "active",
        showTime(one.createTime),
        one.scopes.join(" "),
      ]);
      writeTable(ctx, ["principal", "kind", "state", "created", "scopes"], rows);
    }
    return EXIT.ok;
  },
};

/** Gives an agent a new secret. */
export const principalsRotateSecretCommand: CommandSpec = {
  usage: "principals rotate-secret <principal>",
  about: "Give an agent a new secret, printed once; the old one stops working at once",
  example: "nexus principals rotate-secret my-agent",
  run: async (ctx, args) => {
    const principalId = args.at(0);
    const request = { requestId: randomUUID(), principalId };
    const { clientSecret } = await ctx.client().principals.rotateClientSecret(request);
    if (ctx.format === "json") writeLine(ctx, JSON.stringify({ principalId, clientSecret }));
    else writeLine(ctx, `client secret (shown once): ${clientSecret}`);
    return EXIT.ok;
  },
};

/** Disables an identity. */
export const principalsDisableCommand: CommandSpec = {
  usage: "principals disable <principal>",
  about: "Disable an identity and revoke everything it holds",
  example: "nexus principals disable my-agent",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), principalId: args.at(0) };
    await ctx.client().principals.disablePrincipal(request);
    writeLine(ctx, `Disabled ${args.at(0)}.`);
    return EXIT.ok;
  },
};
