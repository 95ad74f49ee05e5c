import type { PageInfo } from "@nexus/proto/common";

/** One page as a list method answers it. */
interface Page<Item> {
  items: readonly Item[];
  page: PageInfo | undefined;
}

/** Reads pages until there are `limit` items or no more.
 *
 * A page may be short, even empty, and have a next one, so only a missing token ends the list early.
 *
 * @returns the items, at most `limit` of them, and what the last page said of the rest.
 */
export async function readPages<Item>(
  limit: number,
  readPage: (page: { pageSize: number; pageToken: string }) => Promise<Page<Item>>,
): Promise<{ items: Item[]; page: PageInfo | undefined }> {
  const items: Item[] = [];
  let pageToken = "";
  let last: Page<Item>;
  do {
    last = await readPage({ pageSize: limit - items.length, pageToken });
    items.push(...last.items);
    pageToken = last.page?.nextPageToken ?? "";
  } while (items.length < limit && pageToken !== "");
  return { items, page: last.page };
}
