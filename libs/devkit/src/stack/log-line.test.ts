import { describe, expect, it } from "vitest";
import { formatLogLine } from "./log-line.ts";

describe("formatLogLine", () => {
  it.each([
    [
      '{"level":"info","time":"2026-11-22T10:32:01.123Z","service":"registry","pid":7,"msg":"ready","port":7401}',
      "10:32:01.123 registry     info  ready port=7401",
    ],
    [
      '{"level":"warn","time":"2026-11-22T10:32:01.123Z","msg":"slow","peer":{"port":1}}',
      '10:32:01.123 registry     warn  slow peer={"port":1}',
    ],
    [
      '{"level":"warn","msg":"lost","err":{"message":"away","stack":"at x","cause":{"message":"ECONNRESET"}}}',
      ' registry     warn  lost err="away: ECONNRESET"',
    ],
    ["plain text", "registry     plain text"],
    ["{not json", "registry     {not json"],
  ])("turns %s into a line for a person", (line, shown) => {
    expect(formatLogLine("registry", line)).toBe(shown);
  });
});
