/** Keeps the documents true: what is generated equals the code, and what is named exists. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { listFiles, readManifest } from "../scripts/source/workspace.ts";
import { findStaleDocs, renderDocs } from "../scripts/write-docs.ts";
import { ROOT, readText } from "./_manifests.ts";

const pages = listFiles(ROOT, "", ".md").filter((file) => !file.startsWith("third_party/"));

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1] ?? "");
}

describe("generated documents", () => {
  it("say what the code says (npm run docs writes them)", async () => {
    expect(findStaleDocs(ROOT, await renderDocs(ROOT))).toEqual([]);
  });
});

describe.each(pages)("%s", (page) => {
  const text = readText(page);

  it("names only commands that exist", () => {
    const scripts = Object.keys(readManifest(ROOT).scripts ?? {});
    const builtIn = ["test", "start"];
    for (const name of matches(text, /\bnpm run ([a-z][\w:-]*)/g)) expect(scripts).toContain(name);
    for (const name of matches(text, /\bnpm (test|start)\b/g)) {
      expect(builtIn.filter((script) => scripts.includes(script))).toContain(name);
    }
  });

  it("links only to files that exist", () => {
    const targets = matches(text, /\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)/g);
    const missing = targets.filter((target) => !existsSync(join(ROOT, dirname(page), target)));
    expect(missing).toEqual([]);
  });
});
