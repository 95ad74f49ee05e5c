import { describe, expect, it } from "vitest";
import { checkReferences } from "../scripts/check-references.ts";
import { manifest, writeTree } from "./_tree.ts";

function project(...paths: readonly string[]): string {
  return JSON.stringify({ references: paths.map((path) => ({ path })) });
}

const TREE = {
  "tsconfig.build.json": project("libs/core", "libs/shared"),
  "tsconfig.test.json": project("libs/core", "libs/shared"),
  "libs/core/package.json": manifest("@nexus/core", { dependencies: { "@nexus/shared": "0" } }),
  "libs/core/tsconfig.json": project("../shared"),
  "libs/shared/package.json": manifest("@nexus/shared", { dependencies: { pino: "10" } }),
  "libs/shared/tsconfig.json": project(),
};

describe("check-references", () => {
  it("takes a compiler graph that is npm's graph", () => {
    expect(checkReferences(writeTree(TREE)).problems).toEqual([]);
  });

  it("names what is missing and what is needless", () => {
    const root = writeTree({
      ...TREE,
      "tsconfig.test.json": project("libs/core"),
      "libs/core/tsconfig.json": project(),
      "libs/shared/tsconfig.json": project("../core"),
    });
    expect(checkReferences(root).problems).toEqual([
      { file: "tsconfig.test.json", message: "does not reference libs/shared" },
      { file: "libs/core/tsconfig.json", message: "does not reference libs/shared" },
      {
        file: "libs/shared/tsconfig.json",
        message: "references libs/core, which is no dependency",
      },
    ]);
  });
});
