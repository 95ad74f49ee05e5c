/** What `nexus audit list` and `watch` do. Loaded when they run: `audit verify` needs no message's descriptor. */
import { fromBinary } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import type { AuditLeaf } from "@nexus/proto/vault";
import type { CommandArguments, CommandContext } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showTime, writeJsonLine, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { followUntilInterrupted } from "./follow.ts";
import { parseLimit } from "./numbers.ts";
import { parseTime } from "./times.ts";

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
  writeJsonLine(ctx, AuditEntrySchema, entry);
}

/** Lists entries, the newest first. */
export async function listEntries(ctx: CommandContext, args: CommandArguments): Promise<number> {
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
}

/** Shows entries as they come. */
export async function watchEntries(ctx: CommandContext, args: CommandArguments): Promise<number> {
  const from = args.text("from") ?? "-1";
  if (!/^-1$|^\d{1,15}$/.test(from)) throw usageError("--from is the number of a leaf.");
  const filter = toFilter(args);
  let resumeIndex = BigInt(from);
  return followUntilInterrupted(ctx, {
    open: () => ctx.client().audit.watchEntries({ resumeIndex, filter }, { signal: ctx.signal }),
    take: ({ entries, nextIndex }) => {
      for (const leaf of entries) {
        if (ctx.format === "json") writeEntryJson(ctx, leaf);
        else writeLine(ctx, lineOf(toShown(leaf)).join("  "));
      }
      resumeIndex = nextIndex;
      return undefined;
    },
  });
}
