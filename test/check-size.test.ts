import { describe, expect, it } from "vitest";
import { checkSize } from "../scripts/check-size.ts";
import { writeTree } from "./_tree.ts";

const lines = (count: number): string => "// x\n".repeat(count);

function messages(files: Record<string, string>): string[] {
  return checkSize(writeTree(files)).problems.map(({ file, message }) => `${file} ${message}`);
}

describe("check-size", () => {
  it("takes files at their limit and refuses one line more", () => {
    const files = {
      "libs/a/src/at.ts": lines(400),
      "libs/a/src/over.ts": lines(401),
      "libs/a/src/at.test.ts": lines(600),
      "libs/a/test/over.test.ts": lines(601),
      "proto/nexus/a/v1/over.proto": lines(501),
      "services/a/src/main.ts": lines(41),
    };
    expect(messages(files)).toEqual([
      "libs/a/src/over.ts has 401 lines; the limit is 400",
      "libs/a/test/over.test.ts has 601 lines; the limit is 600",
      "services/a/src/main.ts has 41 lines; the limit is 40",
      "proto/nexus/a/v1/over.proto has 501 lines; the limit is 500",
    ]);
  });

  it("warns before the limit", () => {
    const { problems, warnings } = checkSize(writeTree({ "apps/a/src/b.ts": lines(251) }));
    expect(problems).toEqual([]);
    expect(warnings).toEqual([
      { file: "apps/a/src/b.ts", message: "has 251 lines; aim below 250" },
    ]);
  });

  it("takes only unfinished work that names its issue", () => {
    const tag = "write `TODO(#issue): condition to remove`, or do it";
    const files = {
      "apps/a/src/good.ts": "// TODO(#12): remove when the port is gone\n",
      "apps/a/src/bad.ts": "// TODO: later\n/* FIXME */\n",
      "proto/nexus/a/v1/bad.proto": "// XXX\n",
    };
    expect(messages(files)).toEqual([
      `apps/a/src/bad.ts ${tag}`,
      `apps/a/src/bad.ts ${tag}`,
      `proto/nexus/a/v1/bad.proto ${tag}`,
    ]);
  });

  it("wants a docstring on what a library exports, once per name", () => {
    const source = [
      "/** Says. */",
      "export function documented(a: string): void;",
      "export function documented(a: string, b?: string): void {}",
      "/* not a docstring */",
      "export class Bare {}",
      "// nor this",
      "export type Alias = string;",
      "",
    ].join("\n");
    const files = { "libs/a/src/b.ts": source, "services/a/src/b.ts": source };
    expect(messages(files)).toEqual([
      "libs/a/src/b.ts `Bare` is exported without a docstring",
      "libs/a/src/b.ts `Alias` is exported without a docstring",
    ]);
  });
});
