import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findMissingEntries, type LockEntries } from "../scripts/complete-lock.ts";

const lockText = readFileSync(join(import.meta.dirname, "../package-lock.json"), "utf8");

describe("package-lock.json", () => {
  it("has an entry for every optional package, or npm ci refuses it (scripts/complete-lock.ts)", () => {
    const { packages } = JSON.parse(lockText) as { packages: LockEntries };
    expect([...findMissingEntries(packages).keys()]).toEqual([]);
  });

  it("holds no download addresses, so that any registry serves it", () => {
    expect(lockText).not.toMatch(/"resolved": "https?:/);
  });
});

describe("findMissingEntries", () => {
  it("reads version and platform from the dependency that names the package", () => {
    const packages = {
      "node_modules/a": { dev: true, optionalDependencies: { "@a/linux-x64-musl": "^1.2.3" } },
      "node_modules/b": { optionalDependencies: { "b-darwin-arm64": "2.0.0", known: "1.0.0" } },
      "node_modules/b/node_modules/known": {},
    };
    expect([...findMissingEntries(packages)]).toEqual([
      [
        "node_modules/@a/linux-x64-musl",
        {
          version: "1.2.3",
          cpu: ["x64"],
          dev: true,
          libc: ["musl"],
          optional: true,
          os: ["linux"],
        },
      ],
      [
        "node_modules/b-darwin-arm64",
        { version: "2.0.0", cpu: ["arm64"], optional: true, os: ["darwin"] },
      ],
    ]);
  });
});
