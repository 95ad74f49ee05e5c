/** Writes what is generated from code: docs/config.md, docs/errors.md and the layer table of CONTRIBUTING.md.
 *
 * `npm run docs` writes; `npm run docs -- --check` only says which files differ, and fails when one does.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderConfigDocs } from "@nexus/core";
import { renderErrorDocs } from "@nexus/shared";
import { type LayerRule, SERVICE_LAYERS } from "./layers.ts";
import { loadServiceSchemas } from "./source/service-schemas.ts";

const CHECK_ONLY = "--check";
const TABLE_START = "<!-- layers: written by npm run docs -->";
const TABLE_END = "<!-- end of layers -->";

/** A file and the text it must have. */
export interface GeneratedDoc {
  readonly file: string;
  readonly text: string;
}

/** Renders every generated document; needs the build. */
export async function renderDocs(root: string): Promise<GeneratedDoc[]> {
  const schemas = await loadServiceSchemas(root);
  return [
    { file: "docs/config.md", text: renderConfigDocs([...schemas.values()]) },
    { file: "docs/errors.md", text: renderErrorDocs() },
    { file: "CONTRIBUTING.md", text: withLayerTable(readDoc(root, "CONTRIBUTING.md")) },
  ];
}

/** Names the documents whose file differs from what the code says. */
export function findStaleDocs(root: string, docs: readonly GeneratedDoc[]): string[] {
  return docs.filter(({ file, text }) => readDoc(root, file) !== text).map(({ file }) => file);
}

function readDoc(root: string, file: string): string {
  try {
    return readFileSync(join(root, file), "utf8");
  } catch {
    // A document that does not exist yet differs from any text, which is all that callers ask.
    return "";
  }
}

function withLayerTable(text: string): string {
  const start = text.indexOf(TABLE_START);
  const end = text.indexOf(TABLE_END);
  if (start === -1 || end < start) throw new Error(`CONTRIBUTING.md needs ${TABLE_START}`);
  const head = text.slice(0, start + TABLE_START.length);
  return `${head}\n${renderLayerTable()}\n${text.slice(end)}`;
}

function renderLayerTable(): string {
  const rows = Object.entries(SERVICE_LAYERS).map(([name, rule]) => renderRow(name, rule));
  return ["| layer | may import |", "|---|---|", ...rows].join("\n");
}

function renderRow(name: string, { layers, libs, packages }: LayerRule): string {
  const own = layers === "all" ? ["every layer but main"] : layers;
  const libraries = libs === "all" ? ["any declared library"] : libs.map((lib) => `@nexus/${lib}`);
  const others = packages === "all" ? ["any declared package"] : packages;
  const parts = [own, libraries, others].map((part) => part.join(", "));
  return `| ${name} | ${parts.filter((part) => part !== "").join("; ")} |`;
}

async function main(args: readonly string[]): Promise<void> {
  const root = join(import.meta.dirname, "..");
  const docs = await renderDocs(root);
  const stale = findStaleDocs(root, docs);
  if (!args.includes(CHECK_ONLY)) {
    for (const { file, text } of docs) writeFileSync(join(root, file), text);
    console.log(stale.length === 0 ? "nothing changed" : `written: ${stale.join(", ")}`);
  } else if (stale.length > 0) {
    console.error(`${stale.join(", ")}: not what the code says; run npm run docs`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
