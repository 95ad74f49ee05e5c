import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

/** What the demo was asked to do. */
export interface DemoArguments {
  readonly folder: string;
  readonly killAnAgent: boolean;
  /** Undefined means the demo's own folder. */
  readonly reportFile: string | undefined;
  readonly help: boolean;
}

/** Help text, and the answer to a mistake. */
export const USAGE = `Usage: npm run demo [-- options]

Starts NEXUS and a fleet of agents on this machine, has them report on a folder of documents, and stops again.

  --folder DIR      documents to report on (.md, .markdown, .txt); default: this repository's docs
  --report FILE     where to write the report; default: report.md in the demo's own folder
  --kill-an-agent   freeze and kill an analyser while it holds a task: the job completes all the same
  --help            this text
`;

/** Reads the command line. Errors: an Error whose message is for the person at the keyboard. */
export function parseArguments(argv: readonly string[]): DemoArguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      folder: { type: "string" },
      report: { type: "string" },
      "kill-an-agent": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const folder = resolve(values.folder ?? join(import.meta.dirname, "../../../../docs"));
  const isFolder = existsSync(folder) && statSync(folder).isDirectory();
  if (!isFolder) throw new Error(`There is no folder ${folder}.`);
  return {
    folder,
    killAnAgent: values["kill-an-agent"],
    reportFile: values.report === undefined ? undefined : resolve(values.report),
    help: values.help,
  };
}
