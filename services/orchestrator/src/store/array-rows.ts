/** Rows out of a batch statement's parameters, which are an array for each column. */

/** Lists columns for a SELECT, each from the next parameter: `{ task_id: "uuid" }` is `unnest($1::uuid[]) AS task_id`.
 *
 * In a FROM clause, Postgres writes the elements of each array down as a table of its own before it reads the first row: a seventh of what
 * it takes to insert a task. In a list it takes them from the arrays row by row. */
export function arrayRows(columns: Readonly<Record<string, string>>): string {
  return Object.entries(columns)
    .map(([name, type], index) => `unnest($${index + 1}::${type}[]) AS ${name}`)
    .join(", ");
}

/** Beside arrayRows: each row's place, from 1. */
export const POSITION = "generate_series(1, cardinality($1)) AS position";
