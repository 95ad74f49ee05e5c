/** Keeps the documents' programs true: what they call exists in the SDK, with these arguments. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { listFiles } from "../scripts/source/workspace.ts";
import { ROOT, readText } from "./_manifests.ts";

const SDK_TYPES = join(ROOT, "libs/sdk/dist/index.d.ts");
/** What a document may take for granted; each program is a module, so a name that it declares itself hides one of these. */
const PRELUDE = `
declare global {
  const ctx: import("@nexus/sdk").TaskContext;
  const agent: import("@nexus/sdk").RunningAgent;
  const nexus: import("@nexus/sdk").NexusClient;
}
export {};
`;
/** What the compiler says of a name that the document only alludes to, such as a function of the reader's own. */
const UNKNOWN_NAME = /error TS(2304|2552|18004):/;

function programsOf(page: string): string[] {
  return [...readText(page).matchAll(/^```ts\n(.*?)^```$/gms)].map((block) => block[1] ?? "");
}

function compile(sources: ReadonlyMap<string, string>): string[] {
  const dir = mkdtempSync(join(tmpdir(), "nexus-docs-"));
  const config = {
    extends: join(ROOT, "tsconfig.base.json"),
    compilerOptions: {
      noEmit: true,
      composite: false,
      noUnusedLocals: false,
      noUnusedParameters: false,
      typeRoots: [join(ROOT, "node_modules/@types")],
      paths: { "@nexus/sdk": [SDK_TYPES] },
    },
    include: ["*.ts"],
  };
  try {
    writeFileSync(join(dir, "package.json"), '{"type":"module"}');
    writeFileSync(join(dir, "tsconfig.json"), JSON.stringify(config));
    for (const [name, source] of sources) writeFileSync(join(dir, name), source);
    const tsc = join(ROOT, "node_modules/.bin/tsc");
    execFileSync(tsc, ["-p", dir, "--pretty", "false"], { cwd: dir, encoding: "utf8" });
    return [];
  } catch (error) {
    const { stdout } = error as { stdout?: string };
    if (stdout === undefined || stdout === "") throw error;
    return stdout.split("\n").filter((line) => line !== "" && !UNKNOWN_NAME.test(line));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function moduleOf(program: string): string {
  return `${program}\nexport {};\n`;
}

it("programs in the READMEs and docs fit the SDK", () => {
  const pages = ["README.md", "libs/sdk/README.md", ...listFiles(ROOT, "docs", ".md")];
  const programs = new Map<string, string>();
  for (const page of pages) {
    for (const [at, program] of programsOf(page).entries()) {
      programs.set(`${page.replaceAll("/", "-")}-${at + 1}.ts`, moduleOf(program));
    }
  }
  expect(programs.size).toBeGreaterThan(2);
  expect(compile(new Map([["prelude.ts", PRELUDE], ...programs]))).toEqual([]);
}, 60_000);

it("a program that calls what is not there does not fit", () => {
  const wrong = moduleOf(`await agent.send("a", "b", 1, { timeout: 5 });\nnexus.mail.list();`);
  const errors = compile(
    new Map([
      ["prelude.ts", PRELUDE],
      ["wrong.ts", wrong],
    ]),
  );
  expect(errors).toEqual([
    expect.stringContaining("'timeout' does not exist"),
    expect.stringContaining("'mail' does not exist"),
  ]);
});
