/** The program behind `npm run profile`: prints where the time of a CPU profile went. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { type CpuProfile, renderSelfTimes, sumSelfTimes } from "./profile/self-times.ts";
import { createSourceLines } from "./profile/source-lines.ts";

const TOP_DEFAULT = 25;
const EXIT_USAGE = 2;
const USAGE = `Prints the functions in which a process spent its time, from files of \`npm run bench -- --profile DIR\`.

Usage: npm run profile -- [--top N] FILE...

  --top N   lines of each list; ${TOP_DEFAULT} when it is not given
`;

process.exitCode = main(process.argv.slice(2));

function main(args: readonly string[]): number {
  const parsed = parse(args);
  if (typeof parsed === "string") {
    process.stderr.write(`${parsed}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  const sourceOf = createSourceLines();
  for (const file of parsed.files) {
    const profile = JSON.parse(readFileSync(file, "utf8")) as CpuProfile;
    process.stdout.write(
      `${file}: ${renderSelfTimes(sumSelfTimes(profile, sourceOf), parsed.top)}\n`,
    );
  }
  return 0;
}

/** Returns what is wrong, or what is wanted. */
function parse(args: readonly string[]): string | { files: readonly string[]; top: number } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { top: { type: "string" } },
    });
    const top = Number(values.top ?? TOP_DEFAULT);
    if (!Number.isSafeInteger(top) || top < 1) return "--top needs a whole number above 0";
    return positionals.length === 0 ? "no file is named" : { files: positionals, top };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
