import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import {
  DecryptResponseSchema,
  EncryptResponseSchema,
  RewrapResponseSchema,
  SignResponseSchema,
  VerifyResponseSchema,
} from "@nexus/proto/vault";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { FILE_FLAG, readInput, withoutNewline } from "../input.ts";
import { writeBytes, writeLine } from "../output.ts";
import { writeJson } from "../show.ts";
import { usageError } from "../usage-error.ts";

const DATA_BYTES_MAX = 1_048_576;
/** What 1 MiB is as a ciphertext in base64. */
const TEXT_BYTES_MAX = 1_500_000;

const CONTEXT_FLAGS: readonly FlagSpec[] = [
  { flags: "--resource <type/id>", about: "what the ciphertext belongs to, e.g. order/7" },
  FILE_FLAG,
];

/** Encrypts. */
export const transitEncryptCommand: CommandSpec = {
  usage: "transit encrypt <key>",
  about: "Encrypt standard input or a file, up to 1 MiB, and print the ciphertext",
  example: "nexus transit encrypt orders --resource order/7 < order.json",
  flags: CONTEXT_FLAGS,
  run: async (ctx, args) => {
    const context = contextOf(args);
    const plaintext = await readData(ctx, args);
    const request = { keyName: args.at(0), plaintext, context };
    const response = await ctx.client().transit.encrypt(request);
    return writeText(ctx, EncryptResponseSchema, response, response.ciphertext);
  },
};

/** Decrypts. */
export const transitDecryptCommand: CommandSpec = {
  usage: "transit decrypt <key>",
  about: "Decrypt a ciphertext from standard input or a file, and print the plaintext",
  example: "nexus transit decrypt orders --resource order/7 --file order.nxv",
  flags: CONTEXT_FLAGS,
  run: async (ctx, args) => {
    const context = contextOf(args);
    const request = { keyName: args.at(0), ciphertext: await readText(ctx, args), context };
    const response = await ctx.client().transit.decrypt(request);
    if (ctx.format === "json") writeJson(ctx, DecryptResponseSchema, response);
    else writeBytes(ctx, response.plaintext);
    return EXIT.ok;
  },
};

/** Brings a ciphertext under the newest version. */
export const transitRewrapCommand: CommandSpec = {
  usage: "transit rewrap <key>",
  about: "Bring a ciphertext under the newest version of its key; the plaintext stays in vault",
  example: "nexus transit rewrap orders --resource order/7 < order.nxv",
  flags: CONTEXT_FLAGS,
  run: async (ctx, args) => {
    const context = contextOf(args);
    const request = { keyName: args.at(0), ciphertext: await readText(ctx, args), context };
    const response = await ctx.client().transit.rewrap(request);
    return writeText(ctx, RewrapResponseSchema, response, response.ciphertext);
  },
};

/** Signs. */
export const transitSignCommand: CommandSpec = {
  usage: "transit sign <key>",
  about: "Sign standard input or a file, up to 1 MiB, and print the signature",
  example: "nexus transit sign releases --file nexus.tar",
  flags: [FILE_FLAG],
  run: async (ctx, args) => {
    const request = { keyName: args.at(0), data: await readData(ctx, args) };
    const response = await ctx.client().transit.sign(request);
    return writeText(ctx, SignResponseSchema, response, response.signature);
  },
};

/** Checks a signature. */
export const transitVerifyCommand: CommandSpec = {
  usage: "transit verify <key> <signature>",
  about: "Say whether the key signed standard input or a file; ends with 7 when it did not",
  example: "nexus transit verify releases nxs:v1:... --file nexus.tar",
  flags: [FILE_FLAG],
  run: async (ctx, args) => {
    const data = await readData(ctx, args);
    const request = { keyName: args.at(0), signature: args.at(1), data };
    const response = await ctx.client().transit.verify(request);
    const { valid } = response;
    writeText(ctx, VerifyResponseSchema, response, valid ? "valid" : "not valid");
    return valid ? EXIT.ok : EXIT.awaitedFailed;
  },
};

/** Read before anything else: whoever forgot it should not have to type the value twice. */
function contextOf(args: CommandArguments) {
  const resource = args.text("resource") ?? "";
  const at = resource.indexOf("/");
  if (at < 1 || at === resource.length - 1) {
    throw usageError("Say what it belongs to: --resource <type>/<id>, e.g. order/7.");
  }
  return { resourceType: resource.slice(0, at), resourceId: resource.slice(at + 1) };
}

function readData(ctx: CommandContext, args: CommandArguments): Promise<Buffer> {
  return readInput(ctx, args, { what: "the data", maxBytes: DATA_BYTES_MAX });
}

async function readText(ctx: CommandContext, args: CommandArguments): Promise<string> {
  const options = { what: "the ciphertext", maxBytes: TEXT_BYTES_MAX };
  return withoutNewline(await readInput(ctx, args, options)).toString("utf8");
}

function writeText<D extends DescMessage>(
  ctx: CommandContext,
  schema: D,
  response: MessageShape<D>,
  text: string,
): number {
  if (ctx.format === "json") writeJson(ctx, schema, response);
  else writeLine(ctx, text);
  return EXIT.ok;
}
