/** Parses one TypeScript file into what the checks ask about: imports, exports and comments.
 *
 * TypeScript 7 has no JavaScript API for its syntax tree, so the parser is oxc's, which oxlint and knip use too.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Comment, type Directive, parseSync, type Statement } from "oxc-parser";

/** One import or re-export. `typeOnly` ones vanish when compiled. */
export interface ImportEdge {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly star: boolean;
  readonly line: number;
}

/** One exported declaration and whether a docstring stands right before it. */
export interface ExportedDeclaration {
  readonly name: string;
  readonly line: number;
  readonly documented: boolean;
}

/** A comment's text, without its marks. */
export interface SourceComment {
  readonly text: string;
  readonly line: number;
}

/** A parsed file. */
export interface SourceModule {
  readonly file: string;
  readonly lineCount: number;
  readonly imports: readonly ImportEdge[];
  readonly exported: readonly ExportedDeclaration[];
  readonly comments: readonly SourceComment[];
  readonly body: ReadonlyArray<Statement | Directive>;
  lineAt(offset: number): number;
}

const parsed = new Map<string, SourceModule>();

/** Parses a file once per run, however many checks ask for it; a syntax error throws. */
export function readModule(root: string, file: string): SourceModule {
  const key = join(root, file);
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const module = parseModule(file, readFileSync(key, "utf8"));
  parsed.set(key, module);
  return module;
}

/** Parses source text; `file` is used for messages and must end in .ts. */
export function parseModule(file: string, text: string): SourceModule {
  const result = parseSync(file, text);
  const [error] = result.errors;
  if (error !== undefined) throw new Error(`${file}: ${error.message}`);
  const lineAt = createLineIndex(text);
  const body = result.program.body;
  const dynamicImports = result.module.dynamicImports.flatMap(({ start, moduleRequest }) => {
    const literal = text.slice(moduleRequest.start, moduleRequest.end);
    const specifier = /^["']([^"']+)["']$/.exec(literal)?.[1];
    if (specifier === undefined) return [];
    return [{ specifier, typeOnly: false, star: false, line: lineAt(start) }];
  });
  const exported = body.flatMap(declarationsOf);
  return {
    file,
    lineCount: text.split("\n").length - (text.endsWith("\n") ? 1 : 0),
    imports: [...body.flatMap((node) => importsOf(node, lineAt)), ...dynamicImports],
    exported: exported.map(({ name, start }) => ({
      name,
      line: lineAt(start),
      documented: hasDocstring(text, result.comments, start),
    })),
    comments: result.comments.map(({ value, start }) => ({ text: value, line: lineAt(start) })),
    body,
    lineAt,
  };
}

function importsOf(node: Statement | Directive, lineAt: (offset: number) => number): ImportEdge[] {
  const line = lineAt(node.start);
  if (node.type === "ImportDeclaration") {
    const named = node.specifiers;
    const allTypes =
      named.length > 0 &&
      named.every((entry) => entry.type === "ImportSpecifier" && entry.importKind === "type");
    const typeOnly = node.importKind === "type" || allTypes;
    return [{ specifier: node.source.value, typeOnly, star: false, line }];
  }
  if (node.type === "ExportAllDeclaration") {
    const typeOnly = node.exportKind === "type";
    return [{ specifier: node.source.value, typeOnly, star: node.exported === null, line }];
  }
  if (node.type === "ExportNamedDeclaration" && node.source !== null) {
    const typeOnly = node.exportKind === "type";
    return [{ specifier: node.source.value, typeOnly, star: false, line }];
  }
  return [];
}

function declarationsOf(node: Statement | Directive): Array<{ name: string; start: number }> {
  if (node.type !== "ExportNamedDeclaration" || node.declaration == null) return [];
  const { declaration, start } = node;
  if (declaration.type === "VariableDeclaration") {
    return declaration.declarations.flatMap(({ id }) =>
      id.type === "Identifier" ? [{ name: id.name, start }] : [],
    );
  }
  if (!("id" in declaration) || declaration.id == null || !("name" in declaration.id)) return [];
  return [{ name: declaration.id.name, start }];
}

function hasDocstring(text: string, comments: readonly Comment[], start: number): boolean {
  const before = comments.filter((comment) => comment.end <= start).at(-1);
  if (before === undefined || text.slice(before.end, start).trim() !== "") return false;
  return before.type === "Block" && before.value.startsWith("*");
}

function createLineIndex(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
}
