import { describe, expect, it } from "vitest";
import { arrayRows } from "./array-rows.ts";

describe("arrayRows", () => {
  it("takes each column from the next parameter", () => {
    expect(arrayRows({ task_id: "uuid", ordinal: "int" })).toBe(
      "unnest($1::uuid[]) AS task_id, unnest($2::int[]) AS ordinal",
    );
  });
});
