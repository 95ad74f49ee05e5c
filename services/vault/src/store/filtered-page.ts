import type { Page } from "../domain/page.ts";

/** Rows read at once: more than most pages show, so that one reading is enough for a caller who may see all. */
const BATCH = 500;

/** What a page is made of. */
export interface PageSource<R> {
  /** Of the page. */
  readonly size: number;
  /** Where the page before ended. */
  readonly after: string;
  /** Rows read at most for one page. */
  readonly scanMax: number;
  readonly read: (after: string, limit: number) => Promise<readonly R[]>;
  readonly mayShow: (row: R) => boolean;
  /** What read() continues behind. */
  readonly keyOf: (row: R) => string;
  readonly tokenOf: (key: string) => string;
}

/** Fills a page with rows that may be shown, and says where the next one begins. A page that ends because scanMax rows were
 * read is shorter than asked for, and its token then holds the key of a row that was perhaps not shown: a source whose
 * keys tell something has a scanMax that it never reaches. */
export async function filteredPage<R>(source: PageSource<R>): Promise<Page<R>> {
  const { size, scanMax, read, mayShow, keyOf, tokenOf } = source;
  const items: R[] = [];
  let { after } = source;
  for (let scanned = 0; scanned < scanMax; ) {
    const limit = Math.min(BATCH, scanMax - scanned);
    const rows = await read(after, limit);
    for (const row of rows.filter(mayShow)) {
      if (items.length === size) {
        return { items, nextPageToken: tokenOf(keyOf(items[size - 1] as R)) };
      }
      items.push(row);
    }
    if (rows.length < limit) return { items, nextPageToken: "" };
    scanned += rows.length;
    after = keyOf(rows.at(-1) as R);
  }
  return { items, nextPageToken: tokenOf(after) };
}
