/** Batches that are written by two statements, each for a part of them. */

/** Puts the answers to both parts into the order of the whole: those for which `isFirst` holds are in `first`. */
export function inOrder<Item, Answer>(
  items: readonly Item[],
  isFirst: (item: Item) => boolean,
  first: readonly Answer[],
  rest: readonly Answer[],
): readonly Answer[] {
  if (first.length === 0) return rest;
  if (rest.length === 0) return first;
  const next = { first: 0, rest: 0 };
  return items.map((item) => (isFirst(item) ? first[next.first++] : rest[next.rest++]) as Answer);
}
