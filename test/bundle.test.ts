/** When the programs are bundled anew, in a repository of three files. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundlePrograms } from "../scripts/bundle.ts";

const BUNDLE = "services/one/dist/bundle.js";
const root = mkdtempSync(join(tmpdir(), "nexus-bundle-"));

/** Writes a file as if it had been changed this many seconds ago; negative: after all that is there. */
function write(path: string, text: string, secondsAgo = 60): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  const at = Date.now() / 1_000 - secondsAgo;
  utimesSync(file, at, at);
}

const bundled = (): string => readFileSync(join(root, BUNDLE), "utf8");

beforeAll(async () => {
  for (const path of ["package-lock.json", "scripts/bundle.ts"]) write(path, "");
  write("apps/cli/dist/main.js", "console.log(0);");
  write("services/one/dist/part.js", "export const part = 'first';");
  write("services/one/dist/main.js", "import { part } from './part.js'; console.log(part);");
  await bundlePrograms(root);
});

afterAll(() => rmSync(root, { recursive: true }));

describe("bundlePrograms", () => {
  it("makes one file of a program, and leaves it while nothing has changed", async () => {
    expect(bundled()).toContain("first");
    write(BUNDLE, "untouched", 0);
    await bundlePrograms(root);
    expect(bundled()).toBe("untouched");
  });

  it.each([
    ["a file of it", "services/one/dist/part.js", "export const part = 'second';", "second"],
    ["a version of a package", "package-lock.json", "{}", "second"],
    ["the way in which it is made", "scripts/bundle.ts", "//", "second"],
  ])("makes it anew when %s changes", async (_what, path, text, expected) => {
    write(BUNDLE, "old", 0);
    write(path, text, -1);
    await bundlePrograms(root);
    expect(bundled()).toContain(expected);
    write(path, text);
    await bundlePrograms(root);
  });

  it("makes it anew when it was interrupted before", async () => {
    write(BUNDLE, "half of it", 0);
    rmSync(join(root, "services/one/dist/bundle.inputs.json"));
    await bundlePrograms(root);
    expect(bundled()).toContain("second");
  });

  it("is ASCII, of which a process keeps a byte a character, with its strings as they were", async () => {
    const text = "console.log([\n  // an arrow: →\n  '→',\n  `🙂`\n].join());";
    write("services/one/dist/main.js", text, -1);
    await bundlePrograms(root);
    expect(bundled()).toMatch(/^[\0-\u007f]*an arrow: \?[\0-\u007f]*$/);
    const { stdout } = spawnSync(process.execPath, [join(root, BUNDLE)], { encoding: "utf8" });
    expect(stdout).toBe("→,🙂\n");
  });

  it.each(["String.raw`→`", "/→/"])("keeps what cannot be written otherwise: %s", async (code) => {
    write("services/one/dist/main.js", `console.log(${code});`, -1);
    await bundlePrograms(root);
    expect(bundled()).toContain(code);
  });
});
