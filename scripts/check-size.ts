/** Checks the size of files and the comments in them.
 *
 * Functions are measured by the linter (max-lines-per-function, max-params, max-depth); this owns what it cannot
 * see: protos, SQL, tests with their own cap, the tag rule and the docstrings of libraries.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readModule, type SourceModule } from "./source/module.ts";
import type { Findings, Problem } from "./source/problem.ts";
import { isTestFile, listFiles } from "./source/workspace.ts";

const WARN_LINES = 250;
const MAX_LINES = 400;
const MAX_TEST_LINES = 600;
const MAX_PROTO_LINES = 500;
const MAX_MAIN_LINES = 40;

const SOURCE_FOLDERS = ["libs", "services", "apps", "examples", "bench", "scripts", "test"];
const UNFINISHED = /\b(TODO|FIXME|XXX|HACK)\b/;
/** The only form that may stay: an issue, and the condition under which the comment goes away. */
const TRACKED = /\bTODO\(#\d+\): \S/;

/** Measures every hand-written file. */
export function checkSize(root: string): Findings {
  const files = SOURCE_FOLDERS.flatMap((folder) => listFiles(root, folder, ".ts"));
  const modules = files.map((file) => readModule(root, file));
  const texts = [...listFiles(root, "proto", ".proto"), ...listFiles(root, "services", ".sql")];
  const sizes = [
    ...modules.map(({ file, lineCount }) => ({ file, lines: lineCount })),
    ...texts.map((file) => ({ file, lines: readLines(root, file).length - 1 })),
  ];
  return {
    problems: [
      ...sizes.flatMap(({ file, lines }) => tooLong(file, lines)),
      ...modules.flatMap(untrackedComments),
      ...texts.flatMap((file) => untrackedLines(root, file)),
      ...modules.filter(({ file }) => needsDocstrings(file)).flatMap(missingDocstrings),
    ],
    warnings: sizes.flatMap(({ file, lines }) => nearlyTooLong(file, lines)),
  };
}

function limitFor(file: string): number {
  if (file.endsWith(".proto")) return MAX_PROTO_LINES;
  if (/^services\/[^/]+\/src\/main\.ts$/.test(file)) return MAX_MAIN_LINES;
  return isTestFile(file) || file.startsWith("test/") ? MAX_TEST_LINES : MAX_LINES;
}

function tooLong(file: string, lines: number): Problem[] {
  const limit = limitFor(file);
  return lines > limit ? [{ file, message: `has ${lines} lines; the limit is ${limit}` }] : [];
}

function nearlyTooLong(file: string, lines: number): Problem[] {
  const limit = limitFor(file);
  if (limit !== MAX_LINES || lines <= WARN_LINES || lines > limit) return [];
  return [{ file, message: `has ${lines} lines; aim below ${WARN_LINES}` }];
}

function untrackedComments({ file, comments }: SourceModule): Problem[] {
  return comments
    .filter(({ text }) => UNFINISHED.test(text) && !TRACKED.test(text))
    .map(({ line }) => ({ file, line, message: tagMessage }));
}

const tagMessage = "write `TODO(#issue): condition to remove`, or do it";

function untrackedLines(root: string, file: string): Problem[] {
  return readLines(root, file).flatMap((text, index) => {
    const bad = UNFINISHED.test(text) && !TRACKED.test(text);
    return bad ? [{ file, line: index + 1, message: tagMessage }] : [];
  });
}

function needsDocstrings(file: string): boolean {
  return file.startsWith("libs/") && !isTestFile(file);
}

/** Overloads and a type beside its constant share a name; one docstring serves them all. */
function missingDocstrings({ file, exported }: SourceModule): Problem[] {
  const documented = new Set(exported.filter((entry) => entry.documented).map(({ name }) => name));
  return exported
    .filter(({ name }) => !documented.has(name))
    .map(({ name, line }) => ({
      file,
      line,
      message: `\`${name}\` is exported without a docstring`,
    }));
}

function readLines(root: string, file: string): string[] {
  return readFileSync(join(root, file), "utf8").split("\n");
}
