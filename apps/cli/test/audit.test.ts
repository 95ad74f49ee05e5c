/** `nexus audit`, against a log that grows as it should and files that were tampered with. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AuditResult } from "@nexus/proto/common";
import { createTempFolder, createTestIdentity, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run } from "../src/program.ts";
import { createFakeTerminal } from "../src/terminal.fake.ts";
import { StandInLog } from "./_audit-log.ts";
import type { Outcome } from "./_stack.ts";

const identity = createTestIdentity();
let folder: TempFolder;
let file: string;
let log: StandInLog;
let served: Awaited<ReturnType<StandInLog["listen"]>>;
let loggedIn: NodeJS.ProcessEnv;

beforeAll(async () => {
  folder = await createTempFolder("nexus-cli-audit");
  file = join(folder.path, "audit.jsonl");
  log = new StandInLog();
  served = await log.listen(identity);
  loggedIn = {
    NEXUS_CONFIG_DIR: folder.path,
    NEXUS_GATEWAY: served.address,
    NEXUS_TOKEN: await identity.token({ sub: "ada" }),
  };
});

afterAll(async () => {
  await served.close();
  await folder.remove();
});

beforeEach(() => {
  log.leaves = [];
  log.witnessed = [];
  log.append("a", "b", "c", "d", "e");
});

async function runCommand(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  const { terminal, stdout, stderr } = createFakeTerminal();
  const code = await run({ argv, env, terminal, signal: new AbortController().signal });
  return { code, stdout: stdout(), stderr: stderr() };
}

const nexus = (...argv: string[]): Promise<Outcome> => runCommand(argv, loggedIn);

/** The verdict on the exported file. */
async function judged(...argv: string[]): Promise<Record<string, unknown>> {
  const offline = { NEXUS_CONFIG_DIR: folder.path };
  const all = ["audit", "verify", "--file", file, "-o", "json", "--key", log.key, ...argv];
  const { code, stdout } = await runCommand(all, offline);
  return { code, ...(JSON.parse(stdout) as object) };
}

async function exportedLines(): Promise<string[]> {
  expect(await nexus("audit", "export", file)).toMatchObject({
    code: 0,
    stdout: `5 leaves, key ${log.key}\n`,
  });
  return readFileSync(file, "utf8").trimEnd().split("\n");
}

describe("nexus audit list", () => {
  it("shows who did what, the newest first", async () => {
    const { code, stdout } = await nexus("audit", "list");
    expect(code).toBe(0);
    const [head = "", newest = ""] = stdout.split("\n");
    expect(head).toMatch(/^LEAF +TIME +SERVICE +ACTION +ON +BY +RESULT/);
    expect(newest).toMatch(/^4 +2026-11-26T\S+ +vault +CreateKey +e +default\/ada +allowed/);
    expect((await nexus("audit", "list", "-o", "name")).stdout).toBe("4\n3\n2\n1\n0\n");
    const json = (await nexus("audit", "list", "-o", "json")).stdout.split("\n")[0] ?? "";
    expect(JSON.parse(json)).toMatchObject({ actor: "ada", resource: "e" });
  });

  it("passes its filter on, and refuses words that it does not know", async () => {
    const filter = ["--actor", "ada", "--action", "CreateKey", "--resource", "a"];
    await nexus("audit", "list", ...filter, "--result", "denied", "--since", "1h");
    expect(log.asked).toMatchObject({
      actor: "ada",
      action: "CreateKey",
      resource: "a",
      result: AuditResult.DENIED,
    });
    expect(log.asked?.fromTime).toBeDefined();
    expect(log.asked?.toTime).toBeUndefined();
    expect((await nexus("audit", "list", "--result", "sideways")).code).toBe(2);
  });
});

describe("nexus audit watch", () => {
  it("shows each entry once as they come, over streams that end, until interrupted", async () => {
    const { terminal, stdout } = createFakeTerminal();
    const interrupted = new AbortController();
    const argv = ["audit", "watch", "--from", "0", "-o", "json"];
    const watching = run({ argv, env: loggedIn, terminal, signal: interrupted.signal });
    const lines = () => stdout().split("\n").slice(0, -1);
    await waitFor(() => lines().length === 5, { what: "the entries that are there" });
    log.append("f");
    await waitFor(() => lines().length > 5, { what: "the new entry" });
    interrupted.abort();
    expect(await watching).toBe(0);
    const shown = lines().map((line) => (JSON.parse(line) as { resource: string }).resource);
    expect(shown).toEqual(["a", "b", "c", "d", "e", "f"]);
    expect((await nexus("audit", "watch", "--from", "x")).code).toBe(2);
  });
});

describe("nexus audit verify", () => {
  it("proves a live log, also by what the witness kept", async () => {
    log.witnessed = [log.checkpoint()];
    log.append("f");
    const { code, stdout } = await nexus("audit", "verify");
    expect(stdout).toMatch(/^ok: 6 leaves, as signed/);
    expect(stdout).toMatch(/1 checkpoints that were kept elsewhere agree/);
    expect(code).toBe(0);
  });

  it("finds a live log that is shorter than what the witness kept", async () => {
    log.witnessed = [log.checkpoint()];
    log.leaves = log.leaves.slice(0, 3);
    const { code, stdout } = await nexus("audit", "verify");
    expect(stdout).toMatch(/^BAD: truncated: .*; first bad leaf 3, by a checkpoint of the witness/);
    expect(code).toBe(7);
    expect((await nexus("audit", "verify", "--without-witness")).code).toBe(0);
  });

  it("finds a live log that is another one than the witness saw", async () => {
    log.witnessed = [log.checkpoint()];
    log.leaves = [];
    log.append("a", "b", "x", "d", "e", "f");
    const { code, stdout } = await nexus("audit", "verify", "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, kind: "forked" });
    expect(code).toBe(7);
  });

  it("proves an exported file without asking anybody", async () => {
    await exportedLines();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const kept = join(folder.path, "kept.txt");
    writeFileSync(kept, log.checkpoint());
    expect(await judged("--checkpoint", kept)).toMatchObject({ code: 0, ok: true, leaves: 5 });
  });

  it("names the first leaf of a file that was edited", async () => {
    const lines = await exportedLines();
    const line = JSON.parse(lines[3] ?? "") as { leaf: string };
    const bytes = Buffer.from(line.leaf, "base64");
    // A letter of the entry's id: still a well-formed entry.
    bytes[4] = (bytes[4] ?? 0) ^ 1;
    lines[3] = JSON.stringify({ ...line, leaf: bytes.toString("base64") });
    writeFileSync(file, lines.join("\n"));
    expect(await judged()).toMatchObject({ code: 7, ok: false, kind: "edited", firstBadLeaf: 2 });
  });

  it("names the first leaf of a file that was cut off, turned around or left out of", async () => {
    const lines = await exportedLines();
    const [start = "", first = "", second = "", ...rest] = lines;
    writeFileSync(file, lines.slice(0, -2).join("\n"));
    expect(await judged()).toMatchObject({ code: 7, kind: "truncated", firstBadLeaf: 3 });
    writeFileSync(file, [start, second, first, ...rest].join("\n"));
    expect(await judged()).toMatchObject({ code: 7, kind: "reordered", firstBadLeaf: 0 });
    writeFileSync(file, [start, first, ...rest].join("\n"));
    expect(await judged()).toMatchObject({ code: 7, kind: "missing", firstBadLeaf: 1 });
  });

  it("trusts no checkpoint of another key", async () => {
    await exportedLines();
    const other = new StandInLog();
    const { code, stdout } = await nexus("audit", "verify", "--file", file, "--key", other.key);
    expect(stdout).toMatch(/^BAD: checkpoint 1 of the log is not signed by its key/);
    expect(code).toBe(7);
  });

  it("refuses a file that it cannot read", async () => {
    writeFileSync(file, "no export\n");
    expect((await nexus("audit", "verify", "--file", file)).code).toBe(2);
  });
});
