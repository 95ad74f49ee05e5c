import { create } from "@bufbuild/protobuf";
import { UploadPayloadResponseSchema } from "@nexus/proto/orchestrator";
import { downloadPayload, STORED_PAYLOAD_BYTES_MAX, uploadPayload } from "@nexus/sdk";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { FILE_FLAG, readInput } from "../input.ts";
import { writeBytes, writeLine } from "../output.ts";
import { writeJson } from "../show.ts";
import { usageError } from "../usage-error.ts";

const SHA256_PATTERN = /^[0-9a-f]{64}$/i;

/** Stores a body. */
export const payloadsUploadCommand: CommandSpec = {
  usage: "payloads upload",
  about: "Store a body of up to 64 MiB from standard input or a file, and print its SHA-256",
  example: "nexus payloads upload --file corpus.tar",
  flags: [FILE_FLAG],
  run: async (ctx, args) => {
    const body = await readInput(ctx, args, {
      what: "the body",
      maxBytes: STORED_PAYLOAD_BYTES_MAX,
    });
    if (body.byteLength === 0) throw usageError("The body is empty.");
    const { signal } = ctx;
    const reference = await uploadPayload(ctx.client().payloads, body, { signal });
    if (ctx.format === "json") {
      const response = create(UploadPayloadResponseSchema, { reference });
      writeJson(ctx, UploadPayloadResponseSchema, response);
    } else writeLine(ctx, Buffer.from(reference.sha256).toString("hex"));
    return EXIT.ok;
  },
};

/** Fetches a body. */
export const payloadsDownloadCommand: CommandSpec = {
  usage: "payloads download <sha256>",
  about: "Write a stored body to standard output, after checking that it is whole",
  example: "nexus payloads download 9f86d081884c7d65...0f00a08 > corpus.tar",
  run: async (ctx, args) => {
    const text = args.at(0);
    if (!SHA256_PATTERN.test(text)) throw usageError("A SHA-256 has 64 hexadecimal digits.");
    const { payloads } = ctx.client();
    const { reference } = await payloads.findPayload({ sha256: Buffer.from(text, "hex") });
    if (reference === undefined) throw new Error("a payload was found without its reference");
    const { sha256, sizeBytes } = reference;
    const { signal } = ctx;
    writeBytes(ctx, await downloadPayload(payloads, { sha256, sizeBytes }, { signal }));
    return EXIT.ok;
  },
};
