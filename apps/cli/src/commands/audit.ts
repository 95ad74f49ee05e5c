import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import type { CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { readExport, toLines } from "./audit-source.ts";

const FILTER_FLAGS: readonly FlagSpec[] = [
  { flags: "--actor <principal>", about: "only what this principal did" },
  { flags: "--action <method>", about: "only this action, e.g. RotateKey" },
  { flags: "--resource <name>", about: "only what was done on it" },
  { flags: "--result <word>", about: "only allowed, denied or failed" },
  { flags: "--since <time>", about: "only then or later, e.g. 90m or 2026-11-26" },
  { flags: "--before <time>", about: "only before then" },
];

/** Lists entries of the audit log. */
export const auditListCommand: CommandSpec = {
  usage: "audit list",
  about: "List entries of the audit log, the newest first",
  example: "nexus audit list --result denied --since 24h",
  flags: [
    ...FILTER_FLAGS,
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "50" },
  ],
  run: async (ctx, args) => (await import("./audit-entries.ts")).listEntries(ctx, args),
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
  run: async (ctx, args) => (await import("./audit-entries.ts")).watchEntries(ctx, args),
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
