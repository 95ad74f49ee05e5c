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

it("docs/messages.md says what each outcome of a message means", () => {
  const contract = readText("proto/nexus/mesh/v1/message.proto");
  const outcomes = matches(contract, /^ {2}DELIVERY_OUTCOME_([A-Z_]+) = [1-9]/gm);
  expect(outcomes).toContain("DELIVERED");
  const rows = matches(readText("docs/messages.md"), /^\| ([A-Z][A-Z_, ]+) \|/gm);
  const described = rows.flatMap((names) => names.split(", "));
  expect(described.toSorted()).toEqual(outcomes.toSorted());
});

it("decisions have a number each, without gaps, that their title says", () => {
  const adrs = pages.filter((page) => page.startsWith("docs/adr/"));
  const numbers = adrs.map((page) => Number(page.slice(9, 13)));
  expect(numbers).toEqual(numbers.map((_, at) => at + 1));
  for (const page of adrs) expect(readText(page)).toMatch(new RegExp(`^# ${page.slice(9, 13)}: `));
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
