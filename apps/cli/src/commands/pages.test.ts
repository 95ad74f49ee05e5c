import { create } from "@bufbuild/protobuf";
import { PageInfoSchema } from "@nexus/proto/common";
import { describe, expect, it } from "vitest";
import { readPages } from "./pages.ts";

/** Answers page n with the n-th list; every page but the last one has a next one. */
function answering(...pages: number[][]) {
  const asked: { pageSize: number; pageToken: string }[] = [];
  const readPage = (page: { pageSize: number; pageToken: string }) => {
    asked.push(page);
    const index = Number(page.pageToken);
    const nextPageToken = index + 1 < pages.length ? String(index + 1) : "";
    return Promise.resolve({
      items: pages[index] ?? [],
      page: create(PageInfoSchema, { nextPageToken }),
    });
  };
  return { asked, readPage };
}

describe("readPages", () => {
  it("goes on after a short and an empty page, asking for what is missing", async () => {
    const { asked, readPage } = answering([1, 2], [], [3]);
    expect((await readPages(5, readPage)).items).toEqual([1, 2, 3]);
    expect(asked).toEqual([
      { pageSize: 5, pageToken: "" },
      { pageSize: 3, pageToken: "1" },
      { pageSize: 3, pageToken: "2" },
    ]);
  });

  it("stops at the limit and hands on the token of the rest", async () => {
    const { asked, readPage } = answering([1, 2], [3], [4]);
    const { items, page } = await readPages(3, readPage);
    expect(items).toEqual([1, 2, 3]);
    expect(page?.nextPageToken).toBe("2");
    expect(asked).toHaveLength(2);
  });

  it("takes an answer without a page as the last one", async () => {
    const readPage = () => Promise.resolve({ items: [1], page: undefined });
    expect(await readPages(3, readPage)).toEqual({ items: [1], page: undefined });
  });
});
