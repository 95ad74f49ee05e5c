/** One version for all: what the code says of itself, what npm calls it. */
import { join } from "node:path";
import { NEXUS_VERSION } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { readWorkspaces } from "../scripts/source/workspace.ts";
import { ROOT, readText } from "./_manifests.ts";

function versionOf(folder: string): string {
  const { version } = JSON.parse(readText(join(folder, "package.json"))) as { version: string };
  return version;
}

describe("the version", () => {
  it("is the same in the code, in the root package and in every workspace", () => {
    expect(versionOf(".")).toBe(NEXUS_VERSION);
    const others = readWorkspaces(ROOT).filter(({ folder }) => versionOf(folder) !== NEXUS_VERSION);
    expect(others.map(({ folder }) => folder)).toEqual([]);
  });

  it("is spelled nowhere else in the code", () => {
    const spelled = readWorkspaces(ROOT)
      .flatMap(({ files }) => files)
      .filter((file) => file !== "libs/shared/src/version.ts" && file.includes("/src/"))
      .filter((file) => !file.endsWith(".test.ts"))
      .filter((file) => readText(file).includes(`"${NEXUS_VERSION}"`));
    expect(spelled).toEqual([]);
  });
});
