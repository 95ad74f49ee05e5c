import { readFileSync } from "node:fs";
import { DEFAULT_NAMESPACE, NexusError } from "@nexus/shared";
import type { CommandArguments, CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { PASSWORD_STDIN_FLAG, readPassword } from "../password.ts";
import { readProfile, removeProfile, writeProfile } from "../profile.ts";
import { gatewayOf, tlsOf } from "../session.ts";
import { usageError } from "../usage-error.ts";

const LOGIN_PASSWORD = { prompt: "Password", variable: "NEXUS_PASSWORD" };

/** Logs in and keeps the tokens. */
export const loginCommand: CommandSpec = {
  usage: "login [principal]",
  about: "Log in with a password, asked for or in NEXUS_PASSWORD, and keep the tokens",
  example: "nexus login --credentials-file .nexus/admin-credentials.json",
  flags: [
    { flags: "--namespace <name>", about: "the tenant to log in to; later commands are about it" },
    PASSWORD_STDIN_FLAG,
    {
      flags: "--credentials-file <file>",
      about: "JSON file with user and password, as `npm start` writes it",
    },
  ],
  run: login,
};

async function login(ctx: CommandContext, args: CommandArguments): Promise<number> {
  const file = args.text("credentialsFile");
  const stored = file === undefined ? {} : readCredentials(file);
  const principalId = args.at(0) || stored.user;
  if (principalId === undefined) throw usageError("Say who logs in: nexus login <principal>.");
  const password = stored.password ?? (await readPassword(ctx, args, LOGIN_PASSWORD));
  const gateway = gatewayOf(ctx.flags, ctx.env);
  const flags =
    ctx.flags.caFile === undefined && stored.caFile !== undefined
      ? { ...ctx.flags, caFile: stored.caFile }
      : ctx.flags;
  const tls = tlsOf(flags, ctx.env);
  const { createClient } = await import("@nexus/sdk");
  const { toProfile } = await import("../connection.ts");
  const client = createClient({
    gateway,
    tls,
    timeoutMs: ctx.flags.timeout * 1_000,
    waitsForRate: true,
  });
  try {
    const namespace = args.text("namespace") ?? stored.namespace ?? DEFAULT_NAMESPACE;
    const { tokens } = await client.auth.login({ namespace, principalId, password });
    if (tokens === undefined) throw new Error("The answer holds no tokens.");
    const at = tls === undefined ? { gateway } : { gateway, tls: true, ...tls };
    writeProfile(ctx.env, toProfile(at, tokens));
    writeLine(ctx, `Logged in to ${gateway} as ${principalId} in namespace ${namespace}.`);
    return EXIT.ok;
  } finally {
    client.close();
  }
}

interface StoredCredentials {
  readonly user?: string;
  readonly password?: string;
  readonly namespace?: string;
  readonly caFile?: string;
}

function readCredentials(file: string): StoredCredentials {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as StoredCredentials;
  } catch (error) {
    throw new NexusError({
      kind: "invalid",
      reason: "USAGE",
      message: `The credentials file ${file} cannot be read as JSON.`,
      cause: error,
    });
  }
}

/** Ends the login everywhere. */
export const logoutCommand: CommandSpec = {
  usage: "logout",
  about: "Revoke the login's tokens and forget them",
  example: "nexus logout",
  run: async (ctx) => {
    if (readProfile(ctx.env) === undefined) return EXIT.ok;
    const { connect } = await import("../connection.ts");
    const client = connect(ctx.flags, ctx.env);
    try {
      await client.auth.logout({});
    } catch (error) {
      // Tokens that the gateway refuses are as good as revoked.
      if (NexusError.from(error).kind !== "unauthenticated") throw error;
    } finally {
      client.close();
    }
    removeProfile(ctx.env);
    return EXIT.ok;
  },
};

/** Says who is logged in. */
export const whoamiCommand: CommandSpec = {
  usage: "whoami",
  about: "Show who is logged in and what the token allows",
  example: "nexus whoami",
  run: async (ctx) => {
    const { showTime } = await import("../show.ts");
    const { principal, expireTime } = await ctx.client().auth.whoAmI({});
    if (ctx.format === "json") {
      const { principalId = "", namespace = "", scopes = [] } = principal ?? {};
      writeLine(
        ctx,
        JSON.stringify({ principalId, namespace, scopes, expires: showTime(expireTime) }),
      );
    } else {
      writeLine(ctx, `${principal?.principalId} in namespace ${principal?.namespace}`);
      writeLine(ctx, `scopes: ${principal?.scopes.join(" ")}`);
      writeLine(ctx, `token ends: ${showTime(expireTime)}`);
    }
    return EXIT.ok;
  },
};
