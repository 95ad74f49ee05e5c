/** One connection of a pool: its statements, alone or in a pipeline, and its errors. */
import process from "node:process";
import type { PoolClient as DriverClient, QueryResult as DriverResult } from "pg";
import { tryArrayLiteral } from "./array-literal.ts";
import { distrustOf, isRetryableConnectionError } from "./connection-errors.ts";
import { mapPgError } from "./pg-errors.ts";
import { type KnownStatements, Pipeline } from "./pipeline.ts";
import type { PoolClient, Queryable, QueryResult, Statement } from "./queryable.ts";

/** A text, prepared or not, with parameters or none. */
interface Order {
  readonly text: string;
  readonly name: string | undefined;
  readonly values: readonly unknown[] | undefined;
  readonly readTimeoutMs: number;
}
type Answer = QueryResult<object>;
type Send = (order: Order) => Promise<Answer>;

/** Outlives the wrapper, as the server's prepared statements do: it is made anew each time the connection leaves the pool. */
const knownStatements = new WeakMap<DriverClient, KnownStatements>();

/** How a connection is wrapped. */
export interface WrapOptions {
  /** How long an answer may take where its statement does not say; 0: for ever. */
  readonly readTimeoutMs: number;
  readonly onRelease: () => void;
}

/** Wraps a connection that was taken out of the pool. */
export function wrapClient(client: DriverClient, options: WrapOptions): PoolClient {
  const { readTimeoutMs, onRelease } = options;
  let broken = false;
  let released = false;
  const known = knownStatements.get(client) ?? new Map<string, never>();
  knownStatements.set(client, known);
  const gathering = new Gathering(client, known, readTimeoutMs);

  const queryBy = (send: Send): Queryable["query"] => {
    return async <R extends object>(statement: string | Statement, values?: readonly unknown[]) => {
      try {
        const { rows, rowCount, command } = await send(toOrder(statement, values, readTimeoutMs));
        return { rows: rows as R[], rowCount, command };
      } catch (error) {
        broken ||= isRetryableConnectionError(error) || distrustOf(error) !== undefined;
        throw mapPgError(error);
      }
    };
  };
  return {
    query: queryBy((order) => {
      gathering.send();
      const isText = order.name === undefined && order.values === undefined;
      return isText ? runText(client, order) : runAlone(client, known, order);
    }),
    pipelined: {
      query: queryBy((order) => gathering.add(order)),
      hold: () => gathering.hold(),
    },
    release: (destroy = false) => {
      if (released) return;
      released = true;
      onRelease();
      gathering.send();
      if (destroy) cut(client);
      client.release(destroy || broken);
    },
  };
}

/** Owns the pipeline that has not left: it leaves at the end of the turn in which it was begun, or when nobody holds it any more. */
class Gathering {
  readonly #client: DriverClient;
  readonly #known: KnownStatements;
  readonly #readTimeoutMs: number;
  #pipeline: Pipeline | undefined;
  #holds = 0;

  constructor(client: DriverClient, known: KnownStatements, readTimeoutMs: number) {
    this.#client = client;
    this.#known = known;
    this.#readTimeoutMs = readTimeoutMs;
  }

  add({ text, name, values = [] }: Order): Promise<Answer> {
    if (this.#pipeline === undefined) {
      const { connection } = this.#client;
      const terms = { known: this.#known, isAlone: false, readTimeoutMs: this.#readTimeoutMs };
      this.#pipeline = new Pipeline({ connection, ...terms });
      process.nextTick(() => this.#sendUnheld());
    }
    return this.#pipeline.add(text, name, values);
  }

  hold(): () => void {
    this.#holds += 1;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holds -= 1;
      this.#sendUnheld();
    };
  }

  /** Sends what there is, whoever holds it. */
  send(): void {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    if (pipeline !== undefined) this.#client.query(pipeline);
  }

  #sendUnheld(): void {
    if (this.#holds === 0) this.send();
  }
}

async function runAlone(
  client: DriverClient,
  known: KnownStatements,
  { text, name, values = [], readTimeoutMs }: Order,
): Promise<Answer> {
  const { connection } = client;
  const pipeline = new Pipeline({ connection, known, isAlone: true, readTimeoutMs });
  const answer = pipeline.add(text, name, values);
  client.query(pipeline);
  return answer;
}

/** Runs a text without parameters as it is. It may hold several statements, of which the last one counts. */
async function runText(client: DriverClient, { text, readTimeoutMs }: Order): Promise<Answer> {
  const order = { text, query_timeout: readTimeoutMs };
  const result: unknown = await client.query(order);
  const last = (Array.isArray(result) ? result.at(-1) : result) as DriverResult<object> | undefined;
  return { rows: last?.rows ?? [], rowCount: last?.rowCount ?? 0, command: last?.command ?? "" };
}

/** Closes a connection at once. The driver would wait for statements under way, for ever if need be. */
function cut(client: DriverClient): void {
  client.connection.stream.destroy();
}

function toOrder(
  statement: string | Statement,
  values: readonly unknown[] | undefined,
  readTimeoutDefaultMs: number,
): Order {
  const order: Statement = typeof statement === "string" ? { text: statement } : statement;
  const { text, name, readTimeoutMs = readTimeoutDefaultMs } = order;
  return { text, name, readTimeoutMs, values: (values ?? order.values)?.map(toParameter) };
}

function toParameter(value: unknown): unknown {
  return Array.isArray(value) ? (tryArrayLiteral(value) ?? value) : value;
}
