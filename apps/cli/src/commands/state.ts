import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  GetEntryResponseSchema,
  ListEntriesResponseSchema,
  type StateEntry,
  type StateWriteResult,
  StateWriteResultSchema,
  StateWriteStatus,
} from "@nexus/proto/mesh";
import { toPayload } from "@nexus/sdk";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseBody, showBody } from "./mesh.ts";
import { parseLimit } from "./numbers.ts";
import { readPages } from "./pages.ts";
import { parseSpan } from "./times.ts";

const EXPECT_FLAG: FlagSpec = {
  flags: "--expect <revision>",
  about: "only if this is the key's revision; 0: if it has no value",
};
const SEEN_FLAG: FlagSpec = {
  flags: "--seen",
  about: "vector: replace every value that the key has now, in place of standing beside them",
};
const LIMIT_FLAG: FlagSpec = {
  flags: "--limit <n>",
  about: "how many at most, 1 to 1000",
  default: "100",
};

/** Shows a key. */
export const stateGetCommand: CommandSpec = {
  usage: "state get <bucket> <key>",
  about: "Print the value of a key; of several values that stand side by side each with its writer",
  example: "nexus state get plans today",
  run: async (ctx, args) => {
    const response = await ctx.client().state.getEntry({ bucket: args.at(0), key: args.at(1) });
    const { entry } = response;
    if (ctx.format === "json") writeJson(ctx, GetEntryResponseSchema, response);
    else if (entry !== undefined && entry.versions.length > 1) writeVersions(ctx, [entry]);
    else writeLine(ctx, entry === undefined ? "" : showValue(entry));
    return EXIT.ok;
  },
};

/** Sets a key. */
export const statePutCommand: CommandSpec = {
  usage: "state put <bucket> <key> <value>",
  about: "Set the value of a key: JSON where it is JSON, else the text",
  example: `nexus state put plans today '{"steps":["read","write"]}' --expect 0`,
  flags: [EXPECT_FLAG, SEEN_FLAG, { flags: "--ttl <time>", about: "how long it lives, e.g. 12h" }],
  run: async (ctx, args) => {
    const ttl = parseSpan("ttl", args.text("ttl"));
    const put = {
      value: toPayload(parseBody(args.at(2))),
      ...(await termsOf(ctx, args)),
      ...(ttl === undefined ? {} : { ttl }),
    };
    const { result } = await ctx.client().state.putEntry({ ...nameOf(args), put });
    return writeResult(ctx, args, result);
  },
};

/** Deletes a key. */
export const stateDeleteCommand: CommandSpec = {
  usage: "state delete <bucket> <key>",
  about: "Remove the value of a key",
  example: "nexus state delete plans today",
  flags: [EXPECT_FLAG, SEEN_FLAG],
  run: async (ctx, args) => {
    const terms = await termsOf(ctx, args);
    const { result } = await ctx.client().state.deleteEntry({ ...nameOf(args), delete: terms });
    return writeResult(ctx, args, result);
  },
};

/** Adds to a counter. */
export const stateIncrementCommand: CommandSpec = {
  usage: "state increment <bucket> <key> [by]",
  about: "Add to a counter, 1 if nothing else is said, and print the sum",
  example: "nexus state increment tokens-used summariser 1200",
  run: async (ctx, args) => {
    const by = args.at(2) === "" ? "1" : args.at(2);
    if (!/^-?\d{1,18}$/.test(by)) throw usageError(`What to add is a whole number, not "${by}".`);
    const increment = { delta: BigInt(by) };
    const { result } = await ctx.client().state.incrementEntry({ ...nameOf(args), increment });
    if (ctx.format === "json") return writeResult(ctx, args, result);
    writeLine(ctx, String(result?.counter ?? 0n));
    return EXIT.ok;
  },
};

/** Lists keys. */
export const stateListCommand: CommandSpec = {
  usage: "state list <bucket>",
  about: "List keys with their values",
  example: "nexus state list plans --prefix 2026-11/",
  flags: [{ flags: "--prefix <text>", about: "only keys that begin with this" }, LIMIT_FLAG],
  run: async (ctx, args) => {
    const entries = await listEntries(ctx, args, false);
    if (ctx.format === "table") {
      const rows = entries.map((entry) => [
        entry.key,
        entry.revision.toString(),
        entry.lastChange?.principalId ?? "",
        showTime(entry.lastChange?.writeTime),
        entry.versions.length > 1 ? `(${entry.versions.length} versions)` : showValue(entry),
      ]);
      writeTable(ctx, ["key", "revision", "by", "when", "value"], rows);
    }
    return EXIT.ok;
  },
};

/** Lists keys that somebody has to decide on. */
export const stateConflictsCommand: CommandSpec = {
  usage: "state conflicts <bucket>",
  about: "List keys with several values that do not know of each other, and who wrote each",
  example: "nexus state conflicts plans",
  flags: [{ flags: "--prefix <text>", about: "only keys that begin with this" }, LIMIT_FLAG],
  run: async (ctx, args) => {
    const entries = await listEntries(ctx, args, true);
    if (ctx.format === "table") writeVersions(ctx, entries);
    return EXIT.ok;
  },
};

/** Decides on a key. */
export const stateResolveCommand: CommandSpec = {
  usage: "state resolve <bucket> <key> [value]",
  about: "Put one value in the place of versions: a new one, or one of them with --keep",
  example: "nexus state resolve plans today --keep 42",
  flags: [
    { flags: "--keep <version>", about: "the value of this version" },
    {
      flags: "--replace <version>",
      about:
        "a version that it replaces, may be given more than once; all that the key has now if not said",
      many: true,
    },
  ],
  run: async (ctx, args) => {
    const state = ctx.client().state;
    const [bucket, key] = [args.at(0), args.at(1)];
    const keep = args.text("keep");
    if ((keep === undefined) === (args.at(2) === "")) {
      throw usageError("Give either a value or --keep.");
    }
    const { entry } = await state.getEntry({ bucket, key });
    const versions = entry?.versions ?? [];
    const kept = versions.find(({ versionId }) => String(versionId) === keep);
    if (keep !== undefined && kept === undefined) {
      throw usageError(`The key has no version ${keep}; state get shows them.`);
    }
    const named = args.texts("replace").map(parseVersion);
    const versionIds = named.length > 0 ? named : versions.map(({ versionId }) => versionId);
    const value = kept?.value ?? toPayload(parseBody(args.at(2)));
    const resolve = { versionIds, value };
    const { result } = await state.resolveEntry({ ...nameOf(args), resolve });
    return writeResult(ctx, args, result);
  },
};

/** Reads the id of a version. */
function parseVersion(text: string): bigint {
  if (/^\d{1,18}$/.test(text)) return BigInt(text);
  throw usageError(`--replace is the id of a version, not "${text}".`);
}

function nameOf(args: CommandArguments) {
  return { requestId: randomUUID(), bucket: args.at(0), key: args.at(1) };
}

/** What a write says about what is there: the revision that was given, or what a reader sees now. */
async function termsOf(ctx: CommandContext, args: CommandArguments) {
  const expected = args.text("expect");
  if (expected !== undefined && !/^\d{1,18}$/.test(expected)) {
    throw usageError(`--expect is a revision, not "${expected}".`);
  }
  const expect = expected === undefined ? {} : { expectedRevision: BigInt(expected) };
  if (!args.isSet("seen")) return expect;
  const { entry } = await ctx.client().state.getEntry({ bucket: args.at(0), key: args.at(1) });
  return { ...expect, context: entry?.context ?? new Uint8Array(0) };
}

async function listEntries(
  ctx: CommandContext,
  args: CommandArguments,
  onlyConflicts: boolean,
): Promise<readonly StateEntry[]> {
  const query = { bucket: args.at(0), prefix: args.text("prefix") ?? "", onlyConflicts };
  const { items, page } = await readPages(parseLimit(args.text("limit")), async (wanted) => {
    const found = await ctx.client().state.listEntries({ ...query, page: wanted });
    return { items: found.entries, page: found.page };
  });
  if (ctx.format === "json") {
    const response = create(ListEntriesResponseSchema, { entries: items });
    if (page !== undefined) response.page = page;
    writeJson(ctx, ListEntriesResponseSchema, response);
  } else if (ctx.format === "name") {
    for (const { key } of items) writeLine(ctx, key);
  }
  return items;
}

function writeVersions(ctx: CommandContext, entries: readonly StateEntry[]): void {
  const rows = entries.flatMap(({ key, versions }) =>
    versions.map(({ versionId, value, origin }) => [
      key,
      String(versionId),
      origin?.principalId ?? "",
      origin?.taskId ?? "",
      showTime(origin?.writeTime),
      showBody(value),
    ]),
  );
  writeTable(ctx, ["key", "version", "by", "task", "when", "value"], rows);
}

/** The value, or the sum of a counter. */
export function showValue({ versions, counter }: StateEntry): string {
  const [version] = versions;
  return version === undefined ? String(counter) : showBody(version.value);
}

function writeResult(
  ctx: CommandContext,
  args: CommandArguments,
  result: StateWriteResult | undefined,
): number {
  if (result === undefined) return EXIT.ok;
  if (ctx.format === "json") writeJson(ctx, StateWriteResultSchema, result);
  else if (ctx.format === "name") writeLine(ctx, args.at(1));
  else {
    const conflict = result.versions > 1 ? `, ${result.versions} versions side by side` : "";
    const status = showEnum(StateWriteStatus, result.status);
    writeLine(ctx, `${status} ${args.at(1)}, revision ${result.revision}${conflict}`);
  }
  return EXIT.ok;
}
