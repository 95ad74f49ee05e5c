/** Waits for statements that were begun at once and share a round trip; returns their results in order.
 *
 * They run in the order in which they were begun. When one fails in a transaction so do those behind it; the error is that of the
 * first, and it is thrown only when all have ended: whoever rolls back then rolls back everything. */
export async function together<const T extends readonly unknown[]>(
  ...statements: { readonly [K in keyof T]: Promise<T[K]> }
): Promise<T> {
  const results = await Promise.allSettled(statements);
  for (const result of results) if (result.status === "rejected") throw result.reason as Error;
  return results.map((result) => (result as PromiseFulfilledResult<unknown>).value) as unknown as T;
}
