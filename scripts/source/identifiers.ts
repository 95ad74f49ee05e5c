/** Walks a syntax tree for the global names it uses: `Date.now`, `new Date()`, `setTimeout`. */

/** Names in the order of the source, each with its offset. */
export type Identifiers = ReadonlyArray<{ readonly name: string; readonly start: number }>;

interface Node {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

/** Collects calls `name(...)`, members `name.property` and bare `new Name()` below the given statements. */
export function readIdentifiers(body: readonly unknown[]): Identifiers {
  const found: Array<{ name: string; start: number }> = [];
  const pending: unknown[] = [...body].reverse();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (isList(next)) pending.push(...next.toReversed());
    if (!isNode(next)) continue;
    for (const name of namesOf(next)) found.push({ name, start: next.start });
    const children = Object.values(next).filter(
      (value) => typeof value === "object" && value !== null,
    );
    pending.push(...children.reverse());
  }
  return found;
}

function namesOf(node: Node): string[] {
  if (node.type === "CallExpression") return identifier(node["callee"]);
  if (node.type === "MemberExpression") {
    const [object] = identifier(node["object"]);
    const [property] = identifier(node["property"]);
    return object === undefined ? [] : [object, `${object}.${property ?? ""}`];
  }
  if (node.type === "NewExpression") {
    const plain = Array.isArray(node["arguments"]) && node["arguments"].length === 0;
    return plain ? identifier(node["callee"]).map((name) => `new ${name}()`) : [];
  }
  return [];
}

function identifier(value: unknown): string[] {
  return isNode(value) && value.type === "Identifier" ? [String(value["name"])] : [];
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}
