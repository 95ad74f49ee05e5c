/** Several statements of one transaction with one Sync behind them.
 *
 * The driver ends each statement with a Sync, which the server answers with a write of its own: ten statements that leave together wake this
 * process up to ten times, and cost the server ten system calls. It also asks each time which columns there will be. Here a prepared
 * statement is described once, and the statements up to a Sync are one unit: the server runs none behind one that fails. */
import pg, { type Connection, Query, types } from "pg";
import { serialize } from "pg-protocol";
import type { QueryResult } from "./queryable.ts";

type Result = QueryResult<object>;

/** Prepared statements that a connection has answered, by name. The server refuses to run one whose columns have changed. */
export type KnownStatements = Map<string, Columns>;

/** Names, and how to read a value's text. */
type Columns = readonly { readonly name: string; readonly read: (text: string) => unknown }[];

interface Entry {
  readonly text: string;
  readonly name: string | undefined;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
  columns: Columns;
  readonly rows: object[];
  tag: string;
  /** Why a row could not be read. */
  failure?: unknown;
}

/** What the driver calls on a query, and reads of it; its types name none of it. */
interface DriverQuery {
  name: string | undefined;
  text: string;
  callback: (error?: Error) => void;
  submit(connection: Connection): Error | null;
  handleRowDescription(message: RowDescription): void;
  handleDataRow(message: DataRow): void;
  handleCommandComplete(message: CommandComplete): void;
  handleEmptyQuery(): void;
  handleReadyForQuery(): void;
  handleError(error: Error): void;
}
const DriverQuery = Query as unknown as new (text: string) => DriverQuery;

/** How the driver writes a parameter. */
interface DriverUtils {
  readonly utils: { readonly prepareValue: (value: unknown) => string | Buffer | null };
}

interface RowDescription {
  readonly fields: readonly {
    readonly name: string;
    readonly dataTypeID: Parameters<typeof types.getTypeParser>[0];
  }[];
}
interface DataRow {
  readonly fields: readonly (string | null)[];
}
interface CommandComplete {
  readonly text: string;
}

/** What the driver knows of a connection's prepared statements: those that the server has read, and those on their way to it. */
interface StatementNames {
  readonly parsedStatements: Record<string, string>;
  readonly submittedNamedStatements: Record<string, string>;
}

const { prepareValue } = (pg as unknown as DriverUtils).utils;
const NO_COLUMNS: Columns = [];

/** How a pipeline is made. */
export interface PipelineOptions {
  readonly connection: Connection;
  readonly known: KnownStatements;
  /** Its one statement has no transaction around it: what it did is stored at the Sync, and not before. */
  readonly isAlone: boolean;
  /** How long the answers may take, after which the connection is closed; 0: for ever. */
  readonly readTimeoutMs: number;
}

/** The statements up to one Sync. To the driver it is one query that returns nothing; it leaves when the driver submits it.
 *
 * The limit for its answers is its own, not the driver's: a query that the driver watches outlives the small collections, with all that its
 * transaction holds, and a router that stores mail collected its whole heap every three seconds (5 KB of a transaction instead of 0.3;
 * Node 20 and 24, 2026-11). */
export class Pipeline extends DriverQuery {
  readonly #names: StatementNames;
  readonly #known: KnownStatements;
  readonly #isAlone: boolean;
  readonly #readTimeoutMs: number;
  readonly #messages: Buffer[] = [];
  readonly #entries: Entry[] = [];
  #answered = 0;
  #readTimer: NodeJS.Timeout | undefined;

  constructor({ connection, known, isAlone, readTimeoutMs }: PipelineOptions) {
    super("");
    this.#names = connection as unknown as StatementNames;
    this.#known = known;
    this.#isAlone = isAlone;
    this.#readTimeoutMs = readTimeoutMs;
    this.callback = () => undefined;
  }

  /** Adds a statement; resolves when the server has answered up to the Sync. Its messages are made at once, so what cannot be sent fails
   * before anything behind it is added.
   *
   * Errors: the server's, as they are; behind a statement that failed, that one's. */
  async add(text: string, name: string | undefined, values: readonly unknown[]): Promise<Result> {
    const parameters = values.map((value) => prepareValue(value));
    const bind = serialize.bind({ statement: name ?? "", values: parameters });
    if (!this.#isPrepared(text, name)) {
      this.#messages.push(serialize.parse({ name: name ?? "", text }));
      if (name !== undefined) this.#names.submittedNamedStatements[name] = text;
    }
    const columns = name === undefined ? undefined : this.#known.get(name);
    this.#messages.push(bind);
    if (columns === undefined) this.#messages.push(serialize.describe({ type: "P" }));
    this.#messages.push(serialize.execute());
    return new Promise((resolve, reject) => {
      const reader = { columns: columns ?? NO_COLUMNS, rows: [], tag: "" };
      this.#entries.push({ text, name, resolve, reject, ...reader });
      if (this.#entries.length === 1) this.#showCurrent();
    });
  }

  override submit({ stream }: Connection): Error | null {
    if (!stream.writable) return new Error("Connection terminated");
    this.#messages.push(serialize.sync());
    stream.write(Buffer.concat(this.#messages));
    if (this.#readTimeoutMs > 0) {
      this.#readTimer = setTimeout(giveUpReading, this.#readTimeoutMs, this, stream);
    }
    return null;
  }

  override handleRowDescription({ fields }: RowDescription): void {
    const entry = this.#current();
    if (entry === undefined) return;
    entry.columns = fields.map(({ name, dataTypeID }) => ({
      name,
      read: types.getTypeParser(dataTypeID) as (text: string) => unknown,
    }));
  }

  override handleDataRow({ fields }: DataRow): void {
    const entry = this.#current();
    if (entry === undefined || entry.failure !== undefined) return;
    try {
      entry.rows.push(readRow(entry.columns, fields));
    } catch (error) {
      entry.failure = error;
    }
  }

  override handleCommandComplete({ text }: CommandComplete): void {
    const entry = this.#current();
    if (entry === undefined) return;
    entry.tag = text;
    if (entry.name !== undefined) this.#known.set(entry.name, entry.columns);
    this.#answered += 1;
    this.#showCurrent();
  }

  override handleEmptyQuery(): void {
    this.handleCommandComplete({ text: "" });
  }

  override handleReadyForQuery(): void {
    clearTimeout(this.#readTimer);
    for (const entry of this.#entries) settle(entry);
    this.callback();
  }

  /** Fails the statement that the server refused, and those behind it, which it did not run. One that is alone may have been answered and
   * then fail to be stored. */
  override handleError(error: Error): void {
    clearTimeout(this.#readTimer);
    const { submittedNamedStatements } = this.#names;
    const failed = this.#isAlone ? 0 : this.#answered;
    for (const entry of this.#entries.slice(0, failed)) settle(entry);
    for (const { name, reject } of this.#entries.slice(failed)) {
      if (name !== undefined) delete submittedNamedStatements[name];
      reject(error);
    }
    this.callback(error);
  }

  /** Says whether the server knows a statement, or will when it reads this one. Errors: its name is another's. */
  #isPrepared(text: string, name: string | undefined): boolean {
    if (name === undefined) return false;
    const { parsedStatements, submittedNamedStatements } = this.#names;
    const known = parsedStatements[name] ?? submittedNamedStatements[name];
    if (known !== undefined && known !== text) {
      throw new Error(`The statement "${name}" was prepared with another text.`);
    }
    return known !== undefined;
  }

  #current(): Entry | undefined {
    return this.#entries[this.#answered];
  }

  /** The driver notes under these which statement the server has read. */
  #showCurrent(): void {
    const entry = this.#current();
    this.name = entry?.name;
    this.text = entry?.text ?? "";
  }
}

/** What is behind it on the connection could not be told from its answers. */
function giveUpReading(pipeline: Pipeline, stream: Connection["stream"]): void {
  pipeline.handleError(new Error("Query read timeout"));
  stream.destroy();
}

function settle({ failure, rows, tag, resolve, reject }: Entry): void {
  if (failure === undefined) resolve({ rows, ...readTag(tag) });
  else reject(failure);
}

function readRow(columns: Columns, fields: DataRow["fields"]): object {
  const row: Record<string, unknown> = {};
  let index = 0;
  for (const { name, read } of columns) {
    const text = fields[index] ?? null;
    row[name] = text === null ? null : read(text);
    index += 1;
  }
  return row;
}

/** A tag is a command and, for some, numbers of which the last counts rows: INSERT 0 5. */
function readTag(tag: string): { command: string; rowCount: number } {
  const words = tag.split(" ");
  return { command: words[0] ?? "", rowCount: Number(words.length > 1 ? words.at(-1) : 0) || 0 };
}
