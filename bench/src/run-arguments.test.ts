import { describe, expect, it } from "vitest";
import { parseRunArguments, renderUsage } from "./run-arguments.ts";

const KNOWN = ["tasks", "messages", "memory"];

describe("parseRunArguments", () => {
  it("runs everything when no name is given", () => {
    expect(parseRunArguments([], KNOWN)).toEqual({
      kind: "run",
      run: { scenarios: KNOWN, quick: false, jsonFile: undefined, profileDir: undefined },
    });
  });

  it("runs the named scenarios once each, in the bench's own order", () => {
    const flags = ["--quick", "--json", "out.json", "--profile", "profiles"];
    const args = [...flags, "--", "memory", "tasks", "memory"];
    expect(parseRunArguments(args, KNOWN)).toEqual({
      kind: "run",
      run: {
        scenarios: ["tasks", "memory"],
        quick: true,
        jsonFile: "out.json",
        profileDir: "profiles",
      },
    });
  });

  it("refuses unknown names and flags, saying which", () => {
    const name = { kind: "usage", problem: "unknown scenario: speed, fun" };
    expect(parseRunArguments(["tasks", "speed", "fun"], KNOWN)).toEqual(name);
    const flag = { kind: "usage", problem: expect.stringContaining("--fast") as string };
    expect(parseRunArguments(["--fast"], KNOWN)).toEqual(flag);
    expect(parseRunArguments(["--json"], KNOWN)).toMatchObject({ kind: "usage" });
    expect(parseRunArguments(["--json", ""], KNOWN)).toMatchObject({ kind: "usage" });
    expect(parseRunArguments(["--profile", ""], KNOWN)).toMatchObject({ kind: "usage" });
  });

  it("knows when help is wanted", () => {
    expect(parseRunArguments(["--help"], KNOWN)).toEqual({ kind: "help" });
    expect(parseRunArguments(["-h", "tasks"], KNOWN)).toEqual({ kind: "help" });
  });
});

describe("renderUsage", () => {
  it("lists every scenario", () => {
    const usage = renderUsage([
      { name: "tasks", about: "tasks a second" },
      { name: "logins", about: "logins a second" },
    ]);
    expect(usage).toContain("\n  tasks    tasks a second\n  logins   logins a second\n");
  });
});
