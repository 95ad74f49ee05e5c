import { describe, expect, it } from "vitest";
import {
  DEFAULT_NAMESPACE,
  ID_LENGTH_MAX,
  NAMESPACE_LENGTH_MAX,
  parseAgentId,
  parseJobId,
  parseNamespace,
  parsePrincipalId,
  parseSessionId,
  parseTaskId,
  SYSTEM_NAMESPACE,
} from "./brands.ts";
import { createIds } from "./ids.ts";
import { NexusError } from "./nexus-error.ts";

function check(parse: (value: string) => string, good: readonly string[], bad: readonly string[]) {
  for (const value of good) expect(parse(value)).toBe(value);
  for (const value of bad) {
    let thrown: unknown;
    try {
      parse(value);
    } catch (error) {
      thrown = error;
    }
    expect([value, NexusError.is(thrown, "invalid", "ID_INVALID")]).toEqual([value, true]);
    expect((thrown as NexusError).details.fieldViolations).toHaveLength(1);
  }
}

describe("parsed ids", () => {
  it("accepts lower-case principal and agent ids and refuses the rest", () => {
    const good = ["a", "agent-1", "a.b_c-d", "9lives", "a".repeat(ID_LENGTH_MAX)];
    const bad = ["", "A", "-a", ".a", "a b", "a/b", "a\n", "ä", "a".repeat(ID_LENGTH_MAX + 1)];
    check(parseAgentId, good, bad);
    check(parsePrincipalId, good, bad);
  });

  it("accepts the ids that createIds makes", () => {
    const ids = createIds();
    check(parseJobId, [ids.next("job"), ids.next()], ["", "job id", "-job"]);
    check(parseTaskId, [ids.next("task")], ["", "a\u0000b"]);
    check(parseSessionId, [ids.next("ses")], ["", "a/b"]);
  });

  it("reads an empty namespace as the default one", () => {
    expect(parseNamespace("")).toBe(DEFAULT_NAMESPACE);
    check(
      parseNamespace,
      ["default", SYSTEM_NAMESPACE, "a".repeat(NAMESPACE_LENGTH_MAX)],
      ["Default", "a b", "a".repeat(NAMESPACE_LENGTH_MAX + 1)],
    );
  });
});
