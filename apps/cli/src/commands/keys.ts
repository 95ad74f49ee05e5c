import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  GetKeyResponseSchema,
  type Key,
  KeyState,
  KeyType,
  ListKeysResponseSchema,
} from "@nexus/proto/vault";
import type { CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseCount, parseLimit } from "./numbers.ts";
import { parseSpan } from "./times.ts";

const TYPES: Readonly<Record<string, KeyType>> = {
  envelope: KeyType.ENVELOPE,
  "plain-gcm": KeyType.PLAIN_GCM,
  ed25519: KeyType.ED25519,
  "hmac-sha256": KeyType.HMAC_SHA256,
};

/** Creates a key. */
export const keysCreateCommand: CommandSpec = {
  usage: "keys create <name>",
  about: "Create a key, which encrypts unless its type says otherwise",
  example: "nexus keys create orders --rotate-every 90d",
  flags: [
    { flags: "--type <type>", about: Object.keys(TYPES).join(", "), default: "envelope" },
    { flags: "--rotate-every <time>", about: "make a new version so often, e.g. 90d" },
    { flags: "--max-uses <n>", about: "make a new version after about so many uses" },
    { flags: "--deletion-allowed", about: "let the key be destroyed" },
  ],
  run: async (ctx, args) => {
    const type = TYPES[args.text("type") ?? ""];
    if (type === undefined) throw usageError(`--type is one of ${Object.keys(TYPES).join(", ")}.`);
    const rotationPeriod = parseSpan("rotate-every", args.text("rotateEvery"));
    const { key } = await ctx.client().keys.createKey({
      requestId: randomUUID(),
      name: args.at(0),
      type,
      maxUses: BigInt(parseCount("max-uses", args.text("maxUses"), 16) ?? 0),
      deletionAllowed: args.isSet("deletionAllowed"),
      ...(rotationPeriod === undefined ? {} : { rotationPeriod }),
    });
    return show(ctx, key);
  },
};

/** Shows a key. */
export const keysGetCommand: CommandSpec = {
  usage: "keys get <name>",
  about: "Show a key; its material never leaves vault",
  example: "nexus keys get orders",
  run: async (ctx, args) => show(ctx, (await ctx.client().keys.getKey({ name: args.at(0) })).key),
};

/** Lists keys. */
export const keysListCommand: CommandSpec = {
  usage: "keys list",
  about: "List the keys of the namespace by name",
  example: "nexus keys list",
  flags: [{ flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" }],
  run: async (ctx, args) => {
    const page = { pageSize: parseLimit(args.text("limit")) };
    const response = await ctx.client().keys.listKeys({ page });
    if (ctx.format === "json") writeJson(ctx, ListKeysResponseSchema, response);
    else if (ctx.format === "name") for (const { name } of response.keys) writeLine(ctx, name);
    else writeKeys(ctx, response.keys);
    return EXIT.ok;
  },
};

/** Makes the next version. */
export const keysRotateCommand: CommandSpec = {
  usage: "keys rotate <name>",
  about: "Make the next version of a key; older ones go on decrypting",
  example: "nexus keys rotate orders",
  run: async (ctx, args) =>
    show(ctx, (await ctx.client().keys.rotateKey(requestFor(args.at(0)))).key),
};

/** Switches a key off. */
export const keysDisableCommand: CommandSpec = {
  usage: "keys disable <name>",
  about: "Make a key unusable until it is enabled again",
  example: "nexus keys disable orders",
  run: async (ctx, args) =>
    show(ctx, (await ctx.client().keys.disableKey(requestFor(args.at(0)))).key),
};

/** Switches a key on. */
export const keysEnableCommand: CommandSpec = {
  usage: "keys enable <name>",
  about: "Make a disabled key usable again",
  example: "nexus keys enable orders",
  run: async (ctx, args) =>
    show(ctx, (await ctx.client().keys.enableKey(requestFor(args.at(0)))).key),
};

/** Shreds a key. */
export const keysDestroyCommand: CommandSpec = {
  usage: "keys destroy <name>",
  about: "Destroy a key for ever, and with it all that was encrypted under it",
  example: "nexus keys destroy orders --allow",
  flags: [{ flags: "--allow", about: "first take away the protection from destruction" }],
  run: async (ctx, args) => {
    const { keys } = ctx.client();
    const name = args.at(0);
    if (args.isSet("allow")) await keys.updateKey({ ...requestFor(name), deletionAllowed: true });
    return show(ctx, (await keys.destroyKey(requestFor(name))).key);
  },
};

function requestFor(name: string) {
  return { requestId: randomUUID(), name };
}

function show(ctx: CommandContext, key: Key | undefined): number {
  if (key === undefined) throw new Error("The answer holds no key.");
  if (ctx.format === "json") {
    writeJson(ctx, GetKeyResponseSchema, create(GetKeyResponseSchema, { key }));
  } else if (ctx.format === "name") writeLine(ctx, key.name);
  else writeKeys(ctx, [key]);
  return EXIT.ok;
}

function writeKeys(ctx: CommandContext, keys: readonly Key[]): void {
  const rows = keys.map((key) => [
    key.name,
    showEnum(KeyType, key.type).replaceAll("_", "-"),
    showEnum(KeyState, key.state),
    String(key.latestVersion),
    String(key.minDecryptionVersion),
    showTime(key.rotateTime),
    showTime(key.expireTime),
  ]);
  writeTable(ctx, ["key", "type", "state", "version", "decrypts from", "rotated", "expires"], rows);
}
