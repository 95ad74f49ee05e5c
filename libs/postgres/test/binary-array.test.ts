import {
  boolArray,
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  jsonArray,
  textArray,
  uuidArray,
} from "@nexus/postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenDatabase, openDatabase } from "./_database.ts";

let open: OpenDatabase;
beforeAll(async () => {
  open = await openDatabase();
});
afterAll(() => open.close());

/** What the server makes of an array, each element as text. */
async function readBack(type: string, array: Buffer): Promise<(string | null)[]> {
  const { rows } = await open.pool.query<{ element: string | null }>(
    `SELECT element::text FROM unnest($1::${type}[]) WITH ORDINALITY AS a(element, place) ORDER BY place`,
    [array],
  );
  return rows.map(({ element }) => element);
}

describe("arrays in binary form", () => {
  const uuid = "0199a1b2c3d4e5f60718293a4b5c6d7e";
  const cases: readonly [string, Buffer, (string | null)[]][] = [
    ["uuid", uuidArray([uuid, null]), ["0199a1b2-c3d4-e5f6-0718-293a4b5c6d7e", null]],
    ["smallint", int2Array([-32_768, 0, null, 32_767]), ["-32768", "0", null, "32767"]],
    ["integer", int4Array([-2_147_483_648, null, 7]), ["-2147483648", null, "7"]],
    [
      "bigint",
      int8Array([-(2n ** 63n), 2n ** 63n - 1n, 3, null]),
      ["-9223372036854775808", "9223372036854775807", "3", null],
    ],
    ["boolean", boolArray([true, false, null]), ["true", "false", null]],
    [
      "text",
      textArray(["plain", "", 'quo"te\\{,}', "größe", "😀", null, "NULL"]),
      ["plain", "", 'quo"te\\{,}', "größe", "😀", null, "NULL"],
    ],
    ["json", jsonArray(['{"a": "ü"}', "[]", null]), ['{"a": "ü"}', "[]", null]],
    [
      "bytea",
      byteaArray([new Uint8Array([0, 255, 92]), new Uint8Array(), null]),
      ["\\x00ff5c", "\\x", null],
    ],
  ];
  it.each(cases)("of %s arrive as they were written", async (type, array, elements) => {
    expect(await readBack(type, array)).toEqual(elements);
  });

  it("arrive whatever texts are beside each other, short and long", async () => {
    const parts = ["", "a", "é", "€", "😀", "x".repeat(24), "y".repeat(25), "z".repeat(300)];
    const texts = parts.flatMap((one) => parts.map((other) => one + other));
    for (const text of texts) {
      expect(await readBack("text", textArray([text, "end", null]))).toEqual([text, "end", null]);
    }
    expect(await readBack("text", textArray(texts))).toEqual(texts);
  });

  it.each([
    ["uuid", uuidArray([])],
    ["text", textArray([])],
    ["bytea", byteaArray([])],
  ])("of %s may be empty", async (type, array) => {
    expect(await readBack(type, array)).toEqual([]);
  });

  it("refuse what the type cannot hold", () => {
    expect(() => int2Array([32_768])).toThrow(RangeError);
    expect(() => int4Array([2 ** 31])).toThrow(RangeError);
    expect(() => int8Array([1.5])).toThrow(RangeError);
    expect(() => int8Array([2n ** 63n])).toThrow(RangeError);
    expect(() => uuidArray([`${uuid}0`])).toThrow(RangeError);
    for (const wrong of ["g".repeat(32), `${uuid.slice(1)}ā`, uuid.slice(1), `-${uuid.slice(1)}`]) {
      expect(() => uuidArray([wrong])).toThrow(RangeError);
    }
  });

  it("are refused by the server for text with a NUL character, as any text is", async () => {
    await expect(readBack("text", textArray(["a\u0000b"]))).rejects.toMatchObject({
      kind: "invalid",
    });
  });
});
