import { randomUUID } from "node:crypto";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { PASSWORD_STDIN_FLAG, readPassword } from "../password.ts";
import { usageError } from "../usage-error.ts";

const NEW_PASSWORD = { prompt: "New password of the user", variable: "NEXUS_NEW_PASSWORD" };

/** Enables an identity again. */
export const principalsEnableCommand: CommandSpec = {
  usage: "principals enable <principal>",
  about: "Enable a disabled identity; what it held stays revoked",
  example: "nexus principals enable my-agent",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), principalId: args.at(0) };
    await ctx.client().principals.enablePrincipal(request);
    writeLine(ctx, `Enabled ${args.at(0)}.`);
    return EXIT.ok;
  },
};

/** Lets a user log in again. */
export const principalsUnlockCommand: CommandSpec = {
  usage: "principals unlock <principal>",
  about: "Let a user log in again whose name too many failed logins have locked",
  example: "nexus principals unlock alice",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), principalId: args.at(0) };
    await ctx.client().principals.unlockPrincipal(request);
    writeLine(ctx, `Unlocked ${args.at(0)}.`);
    return EXIT.ok;
  },
};

/** Gives a user another password. */
export const principalsPasswordCommand: CommandSpec = {
  usage: "principals password <principal>",
  about: "Give a user another password and revoke everything it holds; your own: nexus passwd",
  example: "pass show alice | nexus principals password alice --password-stdin",
  flags: [
    {
      ...PASSWORD_STDIN_FLAG,
      about: "read it from standard input; else NEXUS_NEW_PASSWORD or the terminal",
    },
  ],
  run: async (ctx, args) => {
    const password = await readPassword(ctx, args, NEW_PASSWORD);
    const request = { requestId: randomUUID(), principalId: args.at(0), password };
    await ctx.client().principals.resetPassword(request);
    writeLine(ctx, `Changed the password of ${args.at(0)}; its logins have ended.`);
    return EXIT.ok;
  },
};

/** Sets the scopes of an identity. */
export const principalsScopesCommand: CommandSpec = {
  usage: "principals scopes <principal>",
  about: "Set all scopes that an identity has beside its roles; --none: it has none",
  example: "nexus principals scopes my-agent --scope vault:secret:read --scope secret:billing:read",
  flags: [
    { flags: "--scope <scope>", about: "one of all its scopes", many: true },
    { flags: "--none", about: "take every scope away" },
  ],
  run: async (ctx, args) => {
    const scopes = [...args.texts("scope")];
    if (args.isSet("none") === scopes.length > 0) {
      throw usageError("Say which: --scope <scope> for each, or --none.");
    }
    const request = { requestId: randomUUID(), principalId: args.at(0), scopes };
    const { principal } = await ctx.client().principals.setPrincipalScopes(request);
    writeLine(ctx, `Scopes of ${principal?.principalId}: ${principal?.scopes.join(" ")}`);
    return EXIT.ok;
  },
};
