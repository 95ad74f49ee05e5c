/** What runs statements, and what they return. */

/** A statement with its parameters; `name` makes it a prepared statement, kept per connection. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly unknown[];
  readonly name?: string;
  /** Replaces the client's own limit for the answer, for statements that lift the server's; not within a transaction. */
  readonly readTimeoutMs?: number;
}

/** What a statement returned. int8 and numeric columns arrive as strings, timestamptz as Date (milliseconds only). */
export interface QueryResult<R> {
  readonly rows: R[];
  readonly rowCount: number;
  /** The command tag's first word, for example INSERT. */
  readonly command: string;
}

/** Anything that runs statements: the pool, a client of it, a transaction. */
export interface Queryable {
  /** Runs one statement.
   *
   * Errors: as mapPgError says; never the driver's own. */
  query<R extends object = Record<string, unknown>>(
    statement: string | Statement,
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>;
}

/** The statements of a transaction. */
export interface PipelinedClient extends Queryable {
  /** Has statements wait, those of this turn too, until the function that it returns is called. */
  hold(): () => void;
}

/** A connection taken out of the pool. Give it back exactly once. */
export interface PoolClient extends Queryable {
  /** For statements within a transaction: those that are begun in one turn leave together and are one unit, so that the server runs none
   * behind one that fails, and each of those has its error. Only one statement a text. */
  readonly pipelined: PipelinedClient;
  /** Gives the connection back; `destroy` closes it instead, for a connection whose session state is not known. */
  release(destroy?: boolean): void;
}
