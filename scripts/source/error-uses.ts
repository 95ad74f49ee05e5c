/** Finds the stable reasons that code and contracts use, with the kind that each is used with. */
import { readModule, type SourceModule } from "./module.ts";

/** One use of a reason. `kind` is undefined where the code decides it while running. */
export interface ReasonUse {
  readonly reason: string;
  readonly kind: string | undefined;
  /** `file:line` */
  readonly place: string;
}

/** What a source file says about errors. */
export interface ErrorUses {
  readonly uses: readonly ReasonUse[];
  /** Reasons of `new TaskError`, which are stored with a task and have no kind. */
  readonly taskReasons: readonly ReasonUse[];
  /** Places of `new NexusError` whose reason is a name that leads nowhere this reader can follow. */
  readonly unreadable: readonly string[];
}

const REASON = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/;
const ERROR_CLASS = "NexusError";
const TASK_ERROR_CLASS = "TaskError";

interface Node {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

/** A function that makes an error out of a reason it is given. */
interface Factory {
  readonly makes: string;
  readonly name: string;
  /** Else only calls in its own file are its. */
  readonly exported: boolean;
  readonly place: string;
  readonly reasonAt: number;
  readonly kind: string | undefined;
  readonly kindAt: number;
}

interface Callable {
  readonly name: string;
  readonly params: readonly string[];
}

interface Call {
  readonly callee: string;
  readonly args: readonly unknown[];
  readonly place: string;
}

/** Reads every given file. An object with both a kind and a reason counts wherever it stands: tables are thrown later.
 *
 * `isKind` tells error kinds from other things called kind. */
export function readErrorUses(
  root: string,
  files: readonly string[],
  isKind: (text: string) => boolean,
): ErrorUses {
  const reader = new ErrorReader(isKind);
  for (const file of files) reader.read(root, file);
  return {
    uses: reader.usesOf(ERROR_CLASS),
    taskReasons: reader.usesOf(TASK_ERROR_CLASS),
    unreadable: reader.unreadable,
  };
}

class ErrorReader {
  readonly unreadable: string[] = [];
  readonly #uses: ReasonUse[] = [];
  readonly #taskUses: ReasonUse[] = [];
  readonly #factories: Factory[] = [];
  readonly #calls: Call[] = [];
  readonly #isKind: (text: string) => boolean;
  #module: SourceModule | undefined;

  constructor(isKind: (text: string) => boolean) {
    this.#isKind = isKind;
  }

  read(root: string, file: string): void {
    this.#module = readModule(root, file);
    this.#visit(this.#module.body, []);
  }

  /** The direct uses, and those through factories, which may be called before they are declared. */
  usesOf(errorClass: string): ReasonUse[] {
    const factories = this.#factories.filter(({ makes }) => makes === errorClass);
    const through = this.#calls.flatMap((call) =>
      factories
        .filter(({ name }) => name === call.callee)
        .filter(({ exported, place }) => exported || fileOf(place) === fileOf(call.place))
        .flatMap((factory) => throughFactory(factory, call)),
    );
    return [...(errorClass === ERROR_CLASS ? this.#uses : this.#taskUses), ...through];
  }

  /** `outer` are the functions around the node, innermost last. */
  #visit(value: unknown, outer: readonly Callable[]): void {
    if (Array.isArray(value)) for (const item of value) this.#visit(item, outer);
    if (!isNode(value)) return;
    const callable = callableOf(value);
    const inner = callable === undefined ? outer : [...outer, callable];
    if (value.type === "ObjectExpression") this.#readObject(value);
    if (value.type === "NewExpression") this.#readNew(value, inner);
    if (value.type === "CallExpression" && nameOf(value["callee"]) !== "") {
      const args = value["arguments"] as readonly unknown[];
      this.#calls.push({ callee: nameOf(value["callee"]), args, place: this.#placeOf(value) });
    }
    for (const field of Object.values(value)) {
      if (typeof field === "object" && field !== null) this.#visit(field, inner);
    }
  }

  #readObject(node: Node): void {
    const [kind] = literalsOf(property(node, "kind"));
    if (kind === undefined || !this.#isKind(kind)) return;
    const place = this.#placeOf(node);
    this.#uses.push(
      ...literalsOf(property(node, "reason")).map((reason) => ({ reason, kind, place })),
    );
  }

  #readNew(node: Node, outer: readonly Callable[]): void {
    const [init] = node["arguments"] as readonly unknown[];
    if (!isNode(init) || init.type !== "ObjectExpression") return;
    const makes = nameOf(node["callee"]);
    const place = this.#placeOf(node);
    const reason = property(init, "reason");
    const [kind] = literalsOf(property(init, "kind"));
    const uses = literalsOf(reason).map((text) => ({ reason: text, kind, place }));
    if (makes === TASK_ERROR_CLASS) this.#taskUses.push(...uses);
    // With a literal kind, the object itself was read already.
    if (makes === ERROR_CLASS && kind === undefined) this.#uses.push(...uses);
    const isOurs = makes === ERROR_CLASS || makes === TASK_ERROR_CLASS;
    if (isOurs && nameOf(reason) !== "") this.#readFactory(init, { makes, place }, outer);
  }

  #readFactory(
    init: Node,
    { makes, place }: Pick<Factory, "makes" | "place">,
    outer: readonly Callable[],
  ): void {
    const reason = nameOf(property(init, "reason"));
    const callable = outer.findLast(({ params }) => params.includes(reason));
    if (callable === undefined || callable.name === "") {
      this.unreadable.push(place);
      return;
    }
    const { name, params } = callable;
    this.#factories.push({
      makes,
      name,
      exported: this.#module?.exported.some((entry) => entry.name === name) === true,
      place,
      reasonAt: params.indexOf(reason),
      kind: literalsOf(property(init, "kind"))[0],
      kindAt: params.indexOf(nameOf(property(init, "kind"))),
    });
  }

  #placeOf(node: Node): string {
    return `${this.#module?.file ?? ""}:${this.#module?.lineAt(node.start) ?? 0}`;
  }
}

/** Returns the name and parameters of a node that is a function, or a variable that holds one. */
function callableOf(node: Node): Callable | undefined {
  const held = node.type === "VariableDeclarator" ? node["init"] : node;
  if (!isNode(held) || !Array.isArray(held["params"]) || !isNode(held["body"])) return undefined;
  return { name: nameOf(node["id"]), params: held["params"].map(nameOf) };
}

function throughFactory({ reasonAt, kindAt, kind }: Factory, { args, place }: Call): ReasonUse[] {
  const given = kind ?? literalsOf(args[kindAt])[0];
  return literalsOf(args[reasonAt]).map((reason) => ({ reason, kind: given, place }));
}

/** The texts an expression can be: a literal, or the arms of a choice. */
function literalsOf(node: unknown): string[] {
  if (!isNode(node)) return [];
  if (node.type === "Literal" && typeof node["value"] === "string") return [node["value"]];
  if (node.type === "ConditionalExpression") {
    return [...literalsOf(node["consequent"]), ...literalsOf(node["alternate"])];
  }
  if (node.type === "LogicalExpression") {
    return [...literalsOf(node["left"]), ...literalsOf(node["right"])];
  }
  return [];
}

function property(object: Node, name: string): unknown {
  const properties = object["properties"] as readonly Node[];
  return properties.find((entry) => entry.type === "Property" && nameOf(entry["key"]) === name)?.[
    "value"
  ];
}

function fileOf(place: string): string {
  return place.slice(0, place.lastIndexOf(":"));
}

function nameOf(node: unknown): string {
  return isNode(node) && node.type === "Identifier" ? String(node["name"]) : "";
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

/** The gRPC code that the words before a reason name, else undefined. */
export interface DocumentedReason {
  readonly reason: string;
  readonly grpcCode: string | undefined;
  readonly place: string;
}

/** Finds reasons in the comments of a contract: names in backquotes after a status code or the word reason.
 *
 * A status code counts until the end of its sentence or paragraph. */
export function readDocumentedReasons(file: string, text: string): DocumentedReason[] {
  return [...text.matchAll(/(?:^[ \t]*\/\/.*\n)+/gm)].flatMap(([block], index) => {
    const plain = block.replaceAll(/^[ \t]*\/\/ ?/gm, "");
    const place = `${file}, comment ${index + 1}`;
    return plain
      .split(/\n\s*\n|(?<=[.:])\s+(?=[A-Z])/)
      .flatMap((part) => readSentence(part, place));
  });
}

const STATUS_CODES =
  "CANCELLED|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS|UNAUTHENTICATED";

function readSentence(sentence: string, place: string): DocumentedReason[] {
  const found: DocumentedReason[] = [];
  let grpcCode: string | undefined;
  const words = new RegExp(`(?<!\`)\\b(${STATUS_CODES})\\b|(reasons?\\s+)?\`([A-Z0-9_]+)\``, "g");
  for (const [, code, isReason, name] of sentence.matchAll(words)) {
    if (code !== undefined) grpcCode = code;
    else if (name !== undefined && REASON.test(name) && (grpcCode ?? isReason) !== undefined) {
      found.push({ reason: name, grpcCode, place });
    }
  }
  return found;
}
