import { randomUUID } from "node:crypto";
import {
  GetSecretResponseSchema,
  ListSecretsResponseSchema,
  ListSecretVersionsResponseSchema,
  PutSecretResponseSchema,
  type SecretVersion,
  SecretVersionState,
} from "@nexus/proto/vault";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { FILE_FLAG, readInput, withoutNewline } from "../input.ts";
import { writeBytes, writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseCount, parseLimit } from "./numbers.ts";
import { parseSpan } from "./times.ts";

const VALUE_BYTES_MAX = 65_536;
const LIMIT_FLAG: FlagSpec = {
  flags: "--limit <n>",
  about: "how many at most, 1 to 1000",
  default: "100",
};
const VERSIONS_FLAG: FlagSpec = {
  flags: "--number <n>",
  about: "number of a version; may be given more than once",
  many: true,
};

/** Stores a value. */
export const secretsPutCommand: CommandSpec = {
  usage: "secrets put <path>",
  about: "Store a value, read from standard input or a file, as the next version",
  example: "pass show stripe | nexus secrets put billing/stripe --expect 3",
  flags: [
    FILE_FLAG,
    { flags: "--raw", about: "keep a newline at the end of standard input" },
    {
      flags: "--expect <version>",
      about: "only if this is the newest version; 0: if there is none",
    },
    { flags: "--ttl <time>", about: "how long it can be read, e.g. 12h; 0s: for ever" },
    { flags: "--task-required", about: "agents read the secret only in a task that they hold" },
  ],
  run: async (ctx, args) => {
    const expectedVersion = parseCount("expect", args.text("expect"), 0);
    const ttl = parseSpan("ttl", args.text("ttl"));
    const response = await ctx.client().secrets.putSecret({
      requestId: randomUUID(),
      path: args.at(0),
      value: await readValue(ctx, args),
      ...(expectedVersion === undefined ? {} : { expectedVersion }),
      ...(ttl === undefined ? {} : { ttl }),
      ...(args.isSet("taskRequired") ? { taskRequired: true } : {}),
    });
    if (ctx.format === "json") writeJson(ctx, PutSecretResponseSchema, response);
    else if (ctx.format === "name") writeLine(ctx, args.at(0));
    else writeLine(ctx, `Stored version ${response.version?.version} of ${args.at(0)}.`);
    return EXIT.ok;
  },
};

/** Prints a value. */
export const secretsGetCommand: CommandSpec = {
  usage: "secrets get <path>",
  about: "Print a value and nothing else; with -o json its version too, the value in base64",
  example: "nexus secrets get billing/stripe",
  flags: [{ flags: "--number <n>", about: "the version with this number in place of the newest" }],
  run: async (ctx, args) => {
    const version = parseCount("number", args.text("number"), 1) ?? 0;
    const response = await ctx.client().secrets.getSecret({ path: args.at(0), version });
    if (ctx.format === "json") {
      writeJson(ctx, GetSecretResponseSchema, response);
      return EXIT.ok;
    }
    writeBytes(ctx, response.value);
    // A prompt behind the value, on its line, would be copied with it.
    if (ctx.terminal.stdout.isTTY) writeLine(ctx, "");
    return EXIT.ok;
  },
};

/** Lists secrets. */
export const secretsListCommand: CommandSpec = {
  usage: "secrets list [prefix]",
  about: "List the secrets that you may read and whose path begins so, without values",
  example: "nexus secrets list billing/",
  flags: [LIMIT_FLAG],
  run: async (ctx, args) => {
    const page = { pageSize: parseLimit(args.text("limit")) };
    const response = await ctx.client().secrets.listSecrets({ prefix: args.at(0), page });
    if (ctx.format === "json") {
      writeJson(ctx, ListSecretsResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { path } of response.secrets) writeLine(ctx, path);
    } else {
      const rows = response.secrets.map((secret) => [
        secret.path,
        String(secret.latestVersion),
        showTime(secret.updateTime),
        [...(secret.casRequired ? ["cas"] : []), ...(secret.taskRequired ? ["task"] : [])].join(),
        Object.entries(secret.labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(" "),
      ]);
      writeTable(ctx, ["path", "version", "changed", "requires", "labels"], rows);
    }
    return EXIT.ok;
  },
};

/** Lists versions. */
export const secretsVersionsCommand: CommandSpec = {
  usage: "secrets versions <path>",
  about: "List the versions of a secret that are kept, without values",
  example: "nexus secrets versions billing/stripe",
  flags: [LIMIT_FLAG],
  run: async (ctx, args) => {
    const page = { pageSize: parseLimit(args.text("limit")) };
    const response = await ctx.client().secrets.listSecretVersions({ path: args.at(0), page });
    if (ctx.format === "json") writeJson(ctx, ListSecretVersionsResponseSchema, response);
    else writeVersions(ctx, response.versions);
    return EXIT.ok;
  },
};

/** Deletes versions. */
export const secretsDeleteCommand: CommandSpec = {
  usage: "secrets delete <path>",
  about: "Make the newest version, or others, unreadable until they are undeleted",
  example: "nexus secrets delete billing/stripe --number 2",
  flags: [VERSIONS_FLAG],
  run: async (ctx, args) => {
    const request = versionsRequest(args);
    const { versions } = await ctx.client().secrets.deleteSecretVersions(request);
    writeVersions(ctx, versions);
    return EXIT.ok;
  },
};

/** Brings versions back. */
export const secretsUndeleteCommand: CommandSpec = {
  usage: "secrets undelete <path>",
  about: "Make deleted versions readable again",
  example: "nexus secrets undelete billing/stripe --number 2",
  flags: [VERSIONS_FLAG],
  run: async (ctx, args) => {
    const request = versionsRequest(args);
    if (request.versions.length === 0) throw usageError("Say which: --number <n>.");
    const { versions } = await ctx.client().secrets.undeleteSecretVersions(request);
    writeVersions(ctx, versions);
    return EXIT.ok;
  },
};

/** Destroys versions, or everything. */
export const secretsDestroyCommand: CommandSpec = {
  usage: "secrets destroy <path>",
  about: "Remove the values of versions for ever, or with --all the whole secret",
  example: "nexus secrets destroy billing/stripe --number 1 --number 2",
  flags: [VERSIONS_FLAG, { flags: "--all", about: "the secret with all that belongs to it" }],
  run: async (ctx, args) => {
    const request = versionsRequest(args);
    const { secrets } = ctx.client();
    if (args.isSet("all") === request.versions.length > 0) {
      throw usageError("Say which: --number <n>, or --all for the whole secret.");
    }
    if (args.isSet("all")) {
      await secrets.destroySecret({ requestId: randomUUID(), path: args.at(0) });
      writeLine(ctx, `Destroyed ${args.at(0)}.`);
    } else {
      writeVersions(ctx, (await secrets.destroySecretVersions(request)).versions);
    }
    return EXIT.ok;
  },
};

async function readValue(ctx: CommandContext, args: CommandArguments): Promise<Buffer> {
  const value = await readInput(ctx, args, { what: "the value", maxBytes: VALUE_BYTES_MAX });
  const exact = args.text("file") !== undefined || args.isSet("raw");
  return exact ? value : withoutNewline(value);
}

function versionsRequest(args: CommandArguments) {
  const versions = args.texts("number").map((text) => parseCount("number", text, 1) ?? 0);
  return { requestId: randomUUID(), path: args.at(0), versions };
}

function writeVersions(ctx: CommandContext, versions: readonly SecretVersion[]): void {
  const rows = versions.map((one) => [
    String(one.version),
    showEnum(SecretVersionState, one.state),
    String(one.sizeBytes),
    one.createdBy,
    showTime(one.createTime),
    showTime(one.expireTime),
  ]);
  writeTable(ctx, ["version", "state", "bytes", "by", "created", "expires"], rows);
}
