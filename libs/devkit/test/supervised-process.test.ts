import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createFileLog } from "../src/stack/process-log.ts";
import { type ProcessEvent, superviseProcess } from "../src/stack/supervised-process.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-devkit-"));
  writeFileSync(join(folder, "crash.mjs"), "console.log('last words'); process.exit(3);");
  writeFileSync(join(folder, "stay.mjs"), "setInterval(() => undefined, 1000);");
  const deaf = "process.on('SIGTERM', () => undefined); console.log('deaf');";
  writeFileSync(join(folder, "deaf.mjs"), `${deaf} setInterval(() => undefined, 1000);`);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function supervise(
  entry: string,
  { delays = [], ...more }: { delays?: (number | undefined)[]; stopTimeoutMs?: number } = {},
) {
  const events: ProcessEvent[] = [];
  const watched = new Set<number>();
  const child = superviseProcess({
    name: entry,
    entry: join(folder, `${entry}.mjs`),
    env: process.env,
    log: createFileLog(folder, entry),
    guard: {
      watch: (pid) => void watched.add(pid),
      forget: (pid) => void watched.delete(pid),
      release: () => Promise.resolve(),
    },
    onEvent: (event) => events.push(event),
    policy: { delayAfterDeath: () => delays.shift() },
    ...more,
  });
  return { child, events, watched };
}

describe("superviseProcess", { timeout: 60_000 }, () => {
  it("starts a process again as the policy says, then gives up", async () => {
    const { child, events, watched } = supervise("crash", { delays: [0, 5, undefined] });
    child.start();
    await expect(child.untimelyEnd).rejects.toThrow(/ended unexpectedly \(exit code 3\)/);
    await waitFor(() => events.length === 6, { what: "three lives", timeoutMs: 40_000 });
    const life = ["started", "died"];
    expect(events.map((event) => event.kind)).toEqual([...life, ...life, ...life]);
    expect(events.at(-1)).toEqual({ kind: "died", how: "exit code 3", restartInMs: undefined });
    expect(child.pid).toBeUndefined();
    expect(watched.size).toBe(0);
    expect(child.tail().split("\n")).toEqual(["last words", "last words", "last words"]);
  });

  it("starts a process again that was killed on order, without asking the policy", async () => {
    const { child, events } = supervise("stay");
    child.start();
    const first = child.pid;
    await child.kill("SIGKILL");
    await waitFor(() => child.pid !== undefined && child.pid !== first, {
      what: "a new process",
      timeoutMs: 40_000,
    });
    expect(events[1]).toEqual({ kind: "died", how: "SIGKILL", restartInMs: 0 });
    await child.stop();
    expect(child.pid).toBeUndefined();
    expect(events).toHaveLength(3);
  });

  it("stops a process that was frozen", async () => {
    const { child } = supervise("stay");
    child.start();
    await child.kill("SIGSTOP");
    await child.stop();
    expect(child.pid).toBeUndefined();
  });

  it("kills a process that does not stop in time", async () => {
    const { child, events } = supervise("deaf", { stopTimeoutMs: 300 });
    child.start();
    await waitFor(() => child.tail().includes("deaf"), {
      what: "its first words",
      timeoutMs: 40_000,
    });
    await child.stop();
    expect(child.pid).toBeUndefined();
    expect(events.map(({ kind }) => kind)).toEqual(["started"]);
  });
});
