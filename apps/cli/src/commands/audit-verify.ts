import { readFile } from "node:fs/promises";
import {
  isSignedBy,
  LogJudge,
  type LogProblem,
  type LogVerdict,
  type NoteKey,
  type TrustedCheckpoint,
  tryParseCheckpoint,
  tryParseNoteKey,
} from "@nexus/merkle";
import type { CommandArguments, CommandContext, CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { usageError } from "../usage-error.ts";
import { type AuditSource, readExport, readExportFile } from "./audit-source.ts";

/** What each problem means. */
const MEANINGS: Readonly<Record<LogProblem["kind"], string>> = {
  edited: "a leaf is not the one that was signed",
  reordered: "leaves stand in another order",
  missing: "a leaf between others is gone",
  truncated: "the newest leaves are gone",
  forked: "the log signed another history than the one that was kept elsewhere",
  unsigned: "the newest leaves are under no signed checkpoint",
  hash: "the stored hash of a leaf was changed; the leaf itself is as signed",
};

/** Proves the audit log, or names the first leaf that is not as it was signed. */
export const auditVerifyCommand: CommandSpec = {
  usage: "audit verify",
  about: "Prove the audit log, of vault or of an exported file, or name the first bad leaf",
  example: "nexus audit verify --file audit.jsonl --key-file audit.key --checkpoint kept.txt",
  flags: [
    { flags: "--file <path>", about: "an exported file, without asking anybody" },
    { flags: "--key <key>", about: "the log's key, as somebody pinned it" },
    { flags: "--key-file <path>", about: "as --key, from a file" },
    {
      flags: "--checkpoint <path>",
      about: "a checkpoint that somebody kept, in a file",
      many: true,
    },
    { flags: "--without-witness", about: "do not ask the witness for what it kept" },
  ],
  isOffline: (args) => args.text("file") !== undefined,
  run: async (ctx, args) => {
    const file = args.text("file");
    const source =
      file === undefined
        ? await readExport(ctx.client().audit.exportEntries({}, { signal: ctx.signal }))
        : await readExportFile(file);
    const pinned = await pinnedKey(args);
    const key = tryParseNoteKey(pinned ?? source.key);
    if (key === undefined) throw usageError("The key is none: NAME+ID+BASE64 is expected.");
    const trusted = [
      ...(await keptCheckpoints(args, key)),
      ...(file === undefined ? await witnessedCheckpoints(ctx, args, key) : []),
    ];
    const own = source.checkpoints.map((note) => signedCheckpoint(note, key, "log"));
    const forged = own.findIndex((checkpoint) => checkpoint === undefined);
    if (forged >= 0) return reportForged(ctx, forged);
    const known = own.filter((checkpoint) => checkpoint !== undefined);
    const verdict = await judge(source, [...known, ...trusted]);
    report(ctx, verdict, { isPinned: pinned !== undefined, trusted: trusted.length });
    return verdict.problem === undefined ? EXIT.ok : EXIT.awaitedFailed;
  },
};

async function pinnedKey(args: CommandArguments): Promise<string | undefined> {
  const file = args.text("keyFile");
  return file === undefined ? args.text("key") : (await readFile(file, "utf8")).trim();
}

/** A checkpoint under the log's signature; undefined when it is not. */
function signedCheckpoint(
  note: string,
  key: NoteKey,
  source: TrustedCheckpoint["source"],
): TrustedCheckpoint | undefined {
  const checkpoint = tryParseCheckpoint(note);
  const isOurs = checkpoint?.origin === key.name && isSignedBy(note, key);
  return checkpoint !== undefined && isOurs ? { ...checkpoint, source } : undefined;
}

async function keptCheckpoints(args: CommandArguments, key: NoteKey): Promise<TrustedCheckpoint[]> {
  const paths = args.texts("checkpoint");
  return Promise.all(
    paths.map(async (path) => {
      const checkpoint = signedCheckpoint(await readFile(path, "utf8"), key, "pinned");
      if (checkpoint === undefined) throw usageError(`${path} is not signed by the log's key.`);
      return checkpoint;
    }),
  );
}

async function witnessedCheckpoints(
  ctx: CommandContext,
  args: CommandArguments,
  key: NoteKey,
): Promise<TrustedCheckpoint[]> {
  if (args.isSet("withoutWitness")) return [];
  const { checkpoints } = await ctx.client().witness.listWitnessedCheckpoints({
    origin: key.name,
    page: { pageSize: 1000 },
  });
  const read = checkpoints.map(({ note }) => signedCheckpoint(note, key, "witness"));
  return read.filter((checkpoint) => checkpoint !== undefined);
}

async function judge(
  { leaves }: AuditSource,
  checkpoints: readonly TrustedCheckpoint[],
): Promise<LogVerdict> {
  const judging = new LogJudge(checkpoints);
  for await (const some of leaves) {
    for (const leaf of some) judging.add(leaf);
    if (judging.isDecided) break;
  }
  return judging.finish();
}

function reportForged(ctx: CommandContext, place: number): number {
  const text = `checkpoint ${place + 1} of the log is not signed by its key`;
  const asJson = JSON.stringify({ ok: false, kind: "signature", place });
  writeLine(ctx, ctx.format === "json" ? asJson : `BAD: ${text}`);
  return EXIT.awaitedFailed;
}

function report(
  ctx: CommandContext,
  { leaves, root, agrees, problem }: LogVerdict,
  how: { readonly isPinned: boolean; readonly trusted: number },
): void {
  if (ctx.format === "json") {
    const rootText = Buffer.from(root).toString("base64");
    const ok = problem === undefined;
    writeLine(
      ctx,
      JSON.stringify({ ok, leaves, root: rootText, signed: agrees?.size ?? 0, ...problem }),
    );
    return;
  }
  if (problem === undefined) {
    writeLine(ctx, `ok: ${leaves} leaves, as signed; root ${Buffer.from(root).toString("base64")}`);
    writeLine(ctx, `${how.trusted} checkpoints that were kept elsewhere agree`);
  } else {
    const { kind, firstBadLeaf, before, source } = problem;
    const where =
      before === undefined
        ? `first bad leaf ${firstBadLeaf}`
        : `first bad leaf one of ${firstBadLeaf} to ${before - 1}`;
    const by = source === undefined || source === "log" ? "" : `, by a checkpoint of the ${source}`;
    writeLine(ctx, `BAD: ${kind}: ${MEANINGS[kind]}; ${where}${by}`);
  }
  if (how.isPinned) return;
  writeLine(ctx, "note: the key is the one that the log showed; pin it with --key");
}
