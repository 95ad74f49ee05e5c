import { resolve } from "node:path";
import { GetSealStatusResponseSchema, SealReason, SealService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, type RpcClient } from "@nexus/rpc";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { FILE_FLAG, readInput } from "../input.ts";
import { assertSocketPrivate } from "../operator-socket.ts";
import { writeLine } from "../output.ts";
import { showEnum, writeJson } from "../show.ts";
import { usageError } from "../usage-error.ts";

const ROOT_KEY_BYTES = 32;
/** A key file is one line. */
const KEY_FILE_BYTES_MAX = 256;

const SOCKET_FLAG: FlagSpec = {
  flags: "--socket <path>",
  about: "vault's operator socket; env NEXUS_VAULT_OPERATOR_SOCKET",
};

type SealClient = RpcClient<typeof SealService>;

/** Calls vault at its operator socket: it asks for no token, and for no certificate that may have ended. */
async function atSocket<T>(
  { env, flags }: CommandContext,
  args: CommandArguments,
  work: (seal: SealClient) => Promise<T>,
): Promise<T> {
  const path = args.text("socket") ?? env["NEXUS_VAULT_OPERATOR_SOCKET"] ?? "";
  if (path === "") throw usageError("Say where vault's operator socket is: --socket <path>.");
  const socket = resolve(path);
  assertSocketPrivate(socket);
  const channel = createRpcChannel({ address: `unix:${socket}` });
  try {
    return await work(createRpcClient(SealService, channel, { timeoutMs: flags.timeout * 1_000 }));
  } finally {
    channel.close();
  }
}

/** Says whether vault is sealed. */
export const vaultStatusCommand: CommandSpec = {
  usage: "vault status",
  about: "Show whether a vault is sealed, and why; exit code 7 when it is",
  example: "nexus vault status --socket /run/nexus/vault/operator.sock",
  flags: [SOCKET_FLAG],
  isOffline: () => true,
  run: async (ctx, args) => {
    const status = await atSocket(ctx, args, (seal) => seal.getSealStatus({}));
    const word = status.sealed ? `sealed: ${showEnum(SealReason, status.reason)}` : "open";
    if (ctx.format === "json") writeJson(ctx, GetSealStatusResponseSchema, status);
    else writeLine(ctx, word);
    return status.sealed ? EXIT.awaitedFailed : EXIT.ok;
  },
};

/** Drops every key. */
export const vaultSealCommand: CommandSpec = {
  usage: "vault seal",
  about: "Drop every key of all replicas, until somebody opens vault again",
  example: "nexus vault seal --socket /run/nexus/vault/operator.sock",
  flags: [SOCKET_FLAG],
  isOffline: () => true,
  run: async (ctx, args) => {
    await atSocket(ctx, args, (seal) => seal.seal({}));
    writeLine(ctx, "sealed");
    return EXIT.ok;
  },
};

/** Opens vault again. */
export const vaultUnsealCommand: CommandSpec = {
  usage: "vault unseal",
  about: "Open vault with the root key, from a file or standard input, or with the configured one",
  example: "nexus vault unseal --socket /run/nexus/vault/operator.sock --file root.key",
  flags: [
    SOCKET_FLAG,
    FILE_FLAG,
    {
      flags: "--configured",
      about: "with the root key that vault is configured with, e.g. a KMS's",
    },
  ],
  isOffline: () => true,
  run: async (ctx, args) => {
    const isConfigured = args.isSet("configured");
    if (isConfigured && args.text("file") !== undefined) {
      throw usageError("Say --file or --configured, not both.");
    }
    const rootKey = isConfigured ? undefined : await readRootKey(ctx, args);
    try {
      await atSocket(ctx, args, async (seal) => {
        if (rootKey === undefined) await seal.unsealFromProvider({});
        else await seal.unseal({ rootKey });
      });
    } finally {
      rootKey?.fill(0);
    }
    writeLine(ctx, "open");
    return EXIT.ok;
  },
};

async function readRootKey(ctx: CommandContext, args: CommandArguments): Promise<Buffer> {
  const options = { what: "the root key", maxBytes: KEY_FILE_BYTES_MAX };
  const text = (await readInput(ctx, args, options)).toString("utf8").trim();
  const key = Buffer.from(text, "base64");
  if (key.byteLength === ROOT_KEY_BYTES) return key;
  throw usageError(`The root key is ${ROOT_KEY_BYTES} bytes in base64.`);
}
