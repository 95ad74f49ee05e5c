/** Holds docs/security.md against the tests it names, and the code that touches secrets against one rule of it. */
import { describe, expect, it } from "vitest";
import { isTestFile, listFiles } from "../scripts/source/workspace.ts";
import { ROOT, readText } from "./_manifests.ts";

/** `| attack | seen as | \`file\`: title |` */
const LINE = /^\| .+ \| .+ \| `([^`]+)`: (.+) \|$/;

const lines = readText("docs/security.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| attack |"));

describe("docs/security.md", () => {
  it("names a test that exists for every attack", () => {
    expect(lines.length).toBeGreaterThan(30);
    const missing = lines.filter((line) => {
      const [, file = "", title = ""] = LINE.exec(line) ?? [];
      const text = file === "" ? "" : readText(file);
      return !text.includes(`"${title}"`) && !text.includes(`'${title}'`);
    });
    expect(missing).toEqual([]);
  });
});

/** A value with such a name, compared with something other than a constant. */
const COMPARED =
  /\b\w*(?:[pP]assword|[sS]ecret|[dD]igest|[rR]efreshToken|[aA]ccessToken|derived|[hH]mac|signature)\b\s*(?:===|!==)(?!\s*(?:undefined\b|""))/;

describe("the code that touches secrets", () => {
  it("says at every cipher with a tag how long the tag is, or Node would take a shorter one", () => {
    const files = listFiles(ROOT, "services/vault/src", ".ts").filter((file) => !isTestFile(file));
    const count = (file: string, what: RegExp) => readText(file).match(what)?.length ?? 0;
    // Key wrapping (RFC 5649) has no tag of its own.
    const found = files
      .filter((file) => !file.endsWith("/crypto/key-wrap.ts"))
      .map((file) => [
        file,
        count(file, /= create(?:C|Dec)ipheriv\(/g),
        count(file, /authTagLength: TAG_BYTES/g),
      ])
      .filter(([, calls]) => calls !== 0);
    expect(found.length).toBeGreaterThan(2);
    for (const [file, calls, tags] of found) expect([file, tags]).toEqual([file, calls]);
  });

  it("compares no secret by operators", () => {
    const folders = ["services/vault/src", "libs/identity/src"];
    const files = folders
      .flatMap((folder) => listFiles(ROOT, folder, ".ts"))
      .filter((file) => !isTestFile(file));
    expect(files.length).toBeGreaterThan(50);
    const found = files.flatMap((file) =>
      readText(file)
        .split("\n")
        .filter((line) => COMPARED.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
    expect(found).toEqual([]);
    expect(COMPARED.test("if (clientSecret === stored) {")).toBe(true);
  });
});
