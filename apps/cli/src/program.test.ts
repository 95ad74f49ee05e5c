/** The command line itself: what is parsed, what is refused, and how. No gateway is asked, or one that is not there. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NEXUS_VERSION } from "@nexus/shared";
import { afterAll, describe, expect, it } from "vitest";
import { COMMANDS, loadNamed, NOUNS } from "./command-table.ts";
import { run } from "./program.ts";
import { createFakeTerminal } from "./terminal.fake.ts";

const home = mkdtempSync(join(tmpdir(), "nexus-home-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Nobody listens there. */
const NO_GATEWAY = "127.0.0.1:1";

async function nexus(...argv: string[]) {
  const { terminal, stdout, stderr } = createFakeTerminal();
  const env = { NEXUS_CONFIG_DIR: home, NEXUS_GATEWAY: NO_GATEWAY, NEXUS_TOKEN: "a.b.c" };
  const { signal } = new AbortController();
  const code = await run({ argv, env, terminal, signal });
  return { code, stdout: stdout(), stderr: stderr() };
}

describe("the command line", () => {
  it("helps on standard output, with an example for every command", async () => {
    const nouns = await loadNamed(Object.keys(NOUNS));
    for (const { usage, example } of [...COMMANDS, ...nouns]) {
      const words = usage.split(" ").filter((word) => /^[a-z]/.test(word));
      const { code, stdout, stderr } = await nexus(...words, "--help");
      expect([usage, code, stderr]).toEqual([usage, 0, ""]);
      expect(stdout).toContain(example);
    }
  });

  it("lists every command without a noun and every noun, whatever it was given", async () => {
    const words = [...COMMANDS.map(({ usage }) => usage.split(" ")[0]), ...Object.keys(NOUNS)];
    for (const argv of [["--help"], ["help"], ["--gateway", "jobs", "--help"]]) {
      const { stdout } = await nexus(...argv);
      for (const word of words) expect(stdout).toMatch(new RegExp(`^  ${word}\\b`, "m"));
    }
    expect((await nexus("help", "audit")).stdout).toContain("verify");
  });

  it("has a command under its own noun only, each once", async () => {
    const usages: string[] = [];
    for (const noun of Object.keys(NOUNS)) {
      for (const { usage } of await loadNamed([noun])) {
        expect(usage).toMatch(new RegExp(`^${noun} `));
        usages.push(usage);
      }
    }
    expect(new Set(usages).size).toBe(usages.length);
  });

  it("says its version", async () => {
    expect(await nexus("--version")).toEqual({
      code: 0,
      stdout: `${NEXUS_VERSION}\n`,
      stderr: "",
    });
  });

  it.each([
    ["job", "get", "nexus jobs get"],
    ["policy", "list", "nexus policies list"],
  ])("takes a noun in the singular too: %s", async (noun, verb, usage) => {
    expect((await nexus(noun, verb, "--help")).stdout).toContain(usage);
  });

  it.each([
    ["no command", [], /Usage: nexus/],
    ["a noun alone", ["jobs"], /Usage: nexus jobs/],
    ["an unknown command", ["frobnicate"], /unknown command 'frobnicate'/],
    ["an unknown verb", ["jobs", "frobnicate"], /unknown command 'frobnicate'[^]*--help/],
    ["an unknown flag", ["jobs", "list", "--odd"], /unknown option '--odd'/],
    ["a missing argument", ["jobs", "get"], /missing required argument 'job'/],
    ["an unknown format", ["status", "-o", "xml"], /--output is one of table, json, name/],
    ["a timeout that is no number", ["--timeout", "soon", "status"], /--timeout is a number/],
    ["a state that there is not", ["jobs", "list", "--state", "nonsense"], /is no state of a job/],
    ["a time that is none", ["tasks", "list", "--since", "yesterday"], /--since is/],
    ["tasks that are no JSON", ["jobs", "submit", "--tasks", "{"], /This is not JSON/],
    [
      "a gateway without a port",
      ["--gateway", "nonsense", "status"],
      /is host:port, not "nonsense"/,
    ],
    ["a message to nobody", ["mesh", "send", "text"], /--to/],
  ])("ends with 2 for %s, and says so on standard error only", async (_what, argv, text) => {
    const { code, stdout, stderr } = await nexus(...argv);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(text);
  });

  it("ends with 4 when nobody is logged in, and says how to", async () => {
    const { terminal, stdout, stderr } = createFakeTerminal();
    const env = { NEXUS_CONFIG_DIR: home };
    const { signal } = new AbortController();
    const code = await run({ argv: ["status"], env, terminal, signal });
    expect([code, stdout()]).toEqual([4, ""]);
    expect(stderr()).toContain("nexus login");
  });

  it("ends with 5 when the gateway does not answer, and says what to do", async () => {
    const { code, stdout, stderr } = await nexus("--timeout", "2", "status");
    expect([code, stdout]).toEqual([5, ""]);
    expect(stderr).toContain(`hint: Is NEXUS running at ${NO_GATEWAY}?`);
    expect(stderr).toContain(`cause: connect ECONNREFUSED ${NO_GATEWAY}\n`);
  });

  it("ends with 130 and no word when it is interrupted", async () => {
    const { terminal, stdout, stderr } = createFakeTerminal();
    const env = { NEXUS_CONFIG_DIR: home, NEXUS_GATEWAY: NO_GATEWAY, NEXUS_TOKEN: "a.b.c" };
    const argv = ["jobs", "watch", "job_1"];
    const code = await run({ argv, env, terminal, signal: AbortSignal.abort() });
    expect([code, stdout(), stderr()]).toEqual([130, "", ""]);
  });
});

describe("an error under -o json", () => {
  const errorOf = (stderr: string) => {
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    return (JSON.parse(stderr) as { error: unknown }).error;
  };

  it.each([
    ["the parser's", ["-o", "json", "jobs", "frobnicate"], "unknown command 'frobnicate'"],
    ["the parser's, the flag last", ["jobs", "get", "-o", "json"], "missing required argument"],
    ["no command", ["-o", "json"], "There is no command here"],
    ["a flag's value", ["jobs", "list", "--state", "x", "-o", "json"], '"x" is no state of a job'],
    ["a global flag's value", ["-o", "json", "--timeout", "x", "status"], "--timeout is a number"],
  ])("is one line on standard error: %s", async (_what, argv, message) => {
    const { code, stdout, stderr } = await nexus(...argv);
    expect([code, stdout]).toEqual([2, ""]);
    expect(errorOf(stderr)).toEqual({
      code: "invalid",
      reason: "USAGE",
      message: expect.stringContaining(message),
      details: {},
    });
  });

  it("has kind, reason, message and hint of what a call ended with", async () => {
    const { code, stderr } = await nexus("-o", "json", "--timeout", "2", "status");
    expect(code).toBe(5);
    expect(errorOf(stderr)).toMatchObject({
      code: "unavailable",
      reason: expect.stringMatching(/^[A-Z_]+$/),
      message: expect.stringMatching(/./),
      cause: expect.stringContaining("ECONNREFUSED"),
      hint: expect.stringContaining("npm start"),
    });
  });
});
