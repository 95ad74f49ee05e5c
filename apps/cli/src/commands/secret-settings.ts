import { randomUUID } from "node:crypto";
import { UpdateSecretMetadataResponseSchema } from "@nexus/proto/vault";
import type { CommandArguments, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { writeJson } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseCount } from "./numbers.ts";
import { parseSpan } from "./times.ts";

/** Changes settings. */
export const secretsSettingsCommand: CommandSpec = {
  usage: "secrets settings <path>",
  about: "Change how a secret may be read and put, and how long its versions are kept",
  example: "nexus secrets settings billing/stripe --task-required yes",
  flags: [
    {
      flags: "--task-required <yes|no>",
      about: "whether agents read it only in a task that they hold",
    },
    {
      flags: "--cas-required <yes|no>",
      about: "whether a put must say which version it expects",
    },
    { flags: "--max-versions <n>", about: "how many versions are kept, 1 to 100" },
    { flags: "--version-ttl <time>", about: "how long a new version can be read; 0s: for ever" },
  ],
  run: async (ctx, args) => {
    const taskRequired = parseSwitch(args, "taskRequired", "--task-required");
    const casRequired = parseSwitch(args, "casRequired", "--cas-required");
    const maxVersions = parseCount("max-versions", args.text("maxVersions"), 1);
    const versionTtl = parseSpan("version-ttl", args.text("versionTtl"));
    const changes = {
      ...(taskRequired === undefined ? {} : { taskRequired }),
      ...(casRequired === undefined ? {} : { casRequired }),
      ...(maxVersions === undefined ? {} : { maxVersions }),
      ...(versionTtl === undefined ? {} : { versionTtl }),
    };
    if (Object.keys(changes).length === 0) throw usageError("Say what changes: --help lists it.");
    const request = { requestId: randomUUID(), path: args.at(0), ...changes };
    const response = await ctx.client().secrets.updateSecretMetadata(request);
    if (ctx.format === "json") writeJson(ctx, UpdateSecretMetadataResponseSchema, response);
    else writeLine(ctx, `Changed the settings of ${args.at(0)}.`);
    return EXIT.ok;
  },
};

/** Errors: USAGE for another word. */
function parseSwitch(args: CommandArguments, name: string, flag: string): boolean | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  if (text === "yes" || text === "no") return text === "yes";
  throw usageError(`${flag} is yes or no, not "${text}".`);
}
