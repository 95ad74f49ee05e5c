import { describe, expect, it } from "vitest";
import { parseStartArguments } from "./start-arguments.ts";

describe("parseStartArguments", () => {
  it("has defaults for everything", () => {
    expect(parseStartArguments(["start"])).toEqual({
      kind: "start",
      start: {
        dataDir: ".nexus",
        portBase: 7400,
        orchestrators: 1,
        meshRouters: 1,
        logLevel: undefined,
        logs: "prefix",
        tls: false,
      },
    });
  });

  it("reads every flag", () => {
    const flags =
      "--port-base 8400 --orchestrators 3 --mesh-routers 2 --tls --data-dir other --log-level debug --logs file";
    expect(parseStartArguments(["start", ...flags.split(" ")])).toEqual({
      kind: "start",
      start: {
        dataDir: "other",
        portBase: 8400,
        orchestrators: 3,
        meshRouters: 2,
        logLevel: "debug",
        logs: "file",
        tls: true,
      },
    });
    expect(parseStartArguments(["start", "--port-base=free"])).toMatchObject({
      start: { portBase: "free" },
    });
  });

  it.each([["--help"], ["start", "--help"], ["-h"]])("shows the help for %s", (...args) => {
    expect(parseStartArguments(args)).toEqual({ kind: "help" });
  });

  it.each([
    [[], /unknown command: \(none\)/],
    [["stop"], /unknown command: stop/],
    [["start", "now"], /unknown command: start now/],
    [["start", "--port-base", "x"], /--port-base must be a whole number.*got x/],
    [["start", "--port-base"], /port-base/],
    [["start", "--port-base", "10000"], /--port-base must be another:.* 10080,.*got 10000/],
    [["start", "--port-base", "8068", "--orchestrators", "2"], /--port-base .* 10080/],
    [["start", "--port-base", "8038", "--mesh-routers", "2"], /--port-base .* 10080/],
    [["start", "--orchestrators", "0"], /--orchestrators must be a whole number from 1.*got 0/],
    [["start", "--orchestrators", "17"], /--orchestrators must be .* to 16, got 17/],
    [["start", "--mesh-routers", "1.5"], /--mesh-routers must be a whole number.*got 1.5/],
    [["start", "--data-dir="], /--data-dir must not be empty/],
    [["start", "--log-level", "loud"], /--log-level must be one of/],
    [["start", "--logs", "everywhere"], /--logs must be one of/],
    [["start", "--color"], /--color/],
  ])("names what is wrong with %j", (args, problem) => {
    expect(parseStartArguments(args)).toEqual({
      kind: "usage",
      problem: expect.stringMatching(problem),
    });
  });
});
