import {
  StateChangeKind,
  type WatchBucketResponse,
  WatchBucketResponseSchema,
} from "@nexus/proto/mesh";
import type { CommandContext, CommandSpec } from "../command.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJsonLine } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { followUntilInterrupted } from "./follow.ts";
import { showValue } from "./state.ts";

/** Follows a bucket. */
export const stateWatchCommand: CommandSpec = {
  usage: "state watch <bucket>",
  about: "Print keys as they are, then their changes, until interrupted",
  example: "nexus state watch plans --prefix 2026-11/",
  flags: [
    { flags: "--prefix <text>", about: "only keys that begin with this" },
    { flags: "--after <revision>", about: "only changes behind this revision" },
  ],
  run: async (ctx, args) => {
    const after = args.text("after");
    if (after !== undefined && !/^\d{1,18}$/.test(after)) {
      throw usageError(`--after is a revision, not "${after}".`);
    }
    const place = { revision: after === undefined ? undefined : BigInt(after) };
    const what = { bucket: args.at(0), prefix: args.text("prefix") ?? "" };
    return followUntilInterrupted(ctx, {
      open: () => {
        const { revision } = place;
        const request = revision === undefined ? what : { ...what, resumeRevision: revision };
        return ctx.client().state.watchBucket(request, { signal: ctx.signal });
      },
      take: (message) => {
        write(ctx, message);
        // 0 while keys are told as they are: after a break all of them come again.
        if (message.revision > 0n) place.revision = message.revision;
        return undefined;
      },
      resumed: () => (place.revision === undefined ? "all keys follow again" : undefined),
    });
  },
};

function write(ctx: CommandContext, message: WatchBucketResponse): void {
  const { entries, changes, resync } = message;
  const isNews = entries.length + changes.length > 0 || resync !== undefined;
  if (ctx.format === "json") {
    if (isNews) writeJsonLine(ctx, WatchBucketResponseSchema, message);
    return;
  }
  if (ctx.format === "name") {
    for (const { key } of entries) writeLine(ctx, key);
    for (const { entry } of changes) writeLine(ctx, entry?.key ?? "");
    return;
  }
  if (resync !== undefined) writeLine(ctx, "... changes are missing; all keys follow");
  for (const entry of entries) {
    writeLine(ctx, `${entry.revision}  ${entry.key}  ${showValue(entry)}`);
  }
  for (const { kind, entry } of changes) {
    if (entry === undefined) continue;
    const { principalId = "", writeTime } = entry.lastChange ?? {};
    const what = kind === StateChangeKind.PUT ? showValue(entry) : showEnum(StateChangeKind, kind);
    writeLine(
      ctx,
      `${entry.revision}  ${entry.key}  ${what}  ${principalId}  ${showTime(writeTime)}`,
    );
  }
}
