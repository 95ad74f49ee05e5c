import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import type { AuditLeaf } from "@nexus/proto/vault";
import type { CommandArguments, CommandContext, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { showTime, writeLine, writeTable } from "../output.ts";
import { usageError } from "../usage-error.ts";
import { readExport, toLines } from "./audit-source.ts";
import { parseLimit } from "./numbers.ts";
import { parseTime } from "./times.ts";

const FILTER_FLAGS: readonly FlagSpec[] = [
  { flags: "--actor <principal>", about: "only what this principal did" },
  { flags: "--action <method>", about: "only this action, e.g. RotateKey" },
  { flags: "--resource <name>", about: "only what was done on it" },
  { flags: "--result <word>", about: "only allowed, denied or failed" },
  { flags: "--since <time>", about: "only then or later, e.g. 90m or 2026-11-26" },
  { flags: "--before <time>", about: "only before then" },
];

const RESULTS: Readonly<Record<string, AuditResult>> = {
  allowed: AuditResult.ALLOWED,
  denied: AuditResult.DENIED,
  failed: AuditResult.FAILED,
};

function toFilter(args: CommandArguments) {
  const word = args.text("result");
  const result = word === undefined ? AuditResult.UNSPECIFIED : RESULTS[word];
  if (result === undefined) throw usageError("--result is one of allowed, denied, failed.");
  const fromTime = parseTime("since", args.text("since"));
  const toTime = parseTime("before", args.text("before"));
  return {
    actor: args.text("actor") ?? "",
    action: args.text("action") ?? "",
    resource: args.text("resource") ?? "",
    result,
    ...(fromTime === undefined ? {} : { fromTime }),
    ...(toTime === undefined ? {} : { toTime }),
  };
}

interface Shown extends AuditEntry {
  readonly place: bigint;
}

function toShown({ index, leaf }: AuditLeaf): Shown {
  return { ...fromBinary(AuditEntrySchema, leaf), place: index };
}

function resultOf({ result }: AuditEntry): string {
  const found = Object.entries(RESULTS).find(([, value]) => value === result);
  return found?.[0] ?? "-";
}

function lineOf(entry: Shown): string[] {
  const { place, time, service, action, reason, actor, namespace, resource, count } = entry;
  const outcome = resultOf(entry) + (reason === "" ? "" : ` ${reason}`);
  return [
    String(place),
    showTime(time),
    service,
    action.split("/").at(-1) ?? action,
    resource || "-",
    actor === "" ? "-" : `${namespace}/${actor}`,
    count > 1 ? `${outcome} (${count} times)` : outcome,
  ];
}

function writeEntryJson(ctx: CommandContext, leaf: AuditLeaf): void {
  const entry = fromBinary(AuditEntrySchema, leaf.leaf);
  writeLine(ctx, JSON.stringify(toJson(AuditEntrySchema, entry)));
}

/** Lists entries of the audit log. */
export const auditListCommand: CommandSpec = {
  usage: "audit list",
  about: "List entries of the audit log, the newest first",
  example: "nexus audit list --result denied --since 24h",
  flags: [
    ...FILTER_FLAGS,
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "50" },
  ],
  run: async (ctx, args) => {
    const { entries } = await ctx.client().audit.listEntries({
      filter: toFilter(args),
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") for (const leaf of entries) writeEntryJson(ctx, leaf);
    else if (ctx.format === "name") for (const { index } of entries) writeLine(ctx, String(index));
    else {
      writeTable(
        ctx,
        ["leaf", "time", "service", "action", "on", "by", "result"],
        entries.map((leaf) => lineOf(toShown(leaf))),
      );
    }
    return EXIT.ok;
  },
};

/** Follows the audit log. */
export const auditWatchCommand: CommandSpec = {
  usage: "audit watch",
  about: "Show entries of the audit log as they come, until Ctrl-C",
  example: "nexus audit watch --result denied",
  flags: [
    ...FILTER_FLAGS,
    { flags: "--from <leaf>", about: "begin with this leaf instead of the next one" },
  ],
  run: async (ctx, args) => {
    const from = args.text("from") ?? "-1";
    if (!/^-1$|^\d{1,15}$/.test(from)) throw usageError("--from is the number of a leaf.");
    const request = { resumeIndex: BigInt(from), filter: toFilter(args) };
    const batches = ctx.client().audit.watchEntries(request, { signal: ctx.signal });
    for await (const { entries } of batches) {
      for (const leaf of entries) {
        if (ctx.format === "json") writeEntryJson(ctx, leaf);
        else writeLine(ctx, lineOf(toShown(leaf)).join("  "));
      }
    }
    return EXIT.ok;
  },
};

/** Writes the whole log into a file that `audit verify` reads without asking anybody. */
export const auditExportCommand: CommandSpec = {
  usage: "audit export <file>",
  about: "Write the whole audit log into a file, for `nexus audit verify --file`",
  example: "nexus audit export audit.jsonl",
  run: async (ctx, args) => {
    const frames = ctx.client().audit.exportEntries({}, { signal: ctx.signal });
    const source = await readExport(frames);
    const file = createWriteStream(args.at(0), { mode: 0o600 });
    let leaves = -1;
    for await (const line of toLines(source)) {
      if (!file.write(`${line}\n`)) await once(file, "drain");
      leaves++;
    }
    file.end();
    await finished(file);
    if (ctx.format !== "name") writeLine(ctx, `${leaves} leaves, key ${source.key}`);
    return EXIT.ok;
  },
};
