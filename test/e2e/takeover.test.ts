/** A standby takes over from the database: what every process remembered belongs to a history that has ended (ADR 0030). */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createPool } from "@nexus/postgres";
import { StatePolicy } from "@nexus/proto/mesh";
import { JobState } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { expect, it } from "vitest";
import { startFleet, submitTasks, type TestFleet, waitForEnd } from "./_fleet.ts";

const TASKS = 60;
const TASK_MS = 300;

async function dataDirectoryOf({ stack }: TestFleet): Promise<string> {
  const pool = createPool({
    url: stack.postgresUrl,
    max: 1,
    applicationName: "test",
    schema: "public",
  });
  try {
    const { rows } = await pool.query<{ data_directory: string }>("SHOW data_directory");
    return rows[0]?.data_directory ?? "";
  } finally {
    await pool.close();
  }
}

/** Brings the database back as a standby of its own past, and has it take over: the same data on a new timeline, as behind a failover. */
async function takeOver(fleet: TestFleet, folder: string): Promise<void> {
  const before = fleet.stack.info.postgres.pid;
  writeFileSync(join(folder, "standby.signal"), "");
  await fleet.stack.processes.kill("postgres");
  // As `pg_ctl promote` does it: when the standby takes over, it removes the file.
  const order = join(folder, "promote");
  writeFileSync(order, "");
  const tookOver = () => {
    const { pid, status } = readPostmaster(folder);
    // Until it says that it is ready, a signal may end it; one to a standby that does not listen yet is missed.
    if (pid !== before && status === "ready") process.kill(pid, "SIGUSR1");
    return !existsSync(order);
  };
  await waitFor(tookOver, { what: "the standby to take over" });
}

/** What the server writes of itself. */
function readPostmaster(folder: string): { readonly pid: number; readonly status: string } {
  const file = join(folder, "postmaster.pid");
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
  return { pid: Number(lines[0]), status: lines[7]?.trim() ?? "" };
}

function pidsOf(fleet: TestFleet): Map<string, number> {
  return new Map(Object.entries(fleet.stack.info.services).map(([name, { pid }]) => [name, pid]));
}

it("begins every service with a database anew when a standby takes over, and finishes what was acknowledged", async () => {
  await using fleet = await startFleet({ durable: true });
  const user = await fleet.createUser();
  await fleet.startAgent("worker-1");
  await fleet.startAgent("worker-2");
  await fleet.admin.state.createBucket({
    requestId: "make",
    bucket: "kept",
    policy: StatePolicy.LWW,
  });
  const kept = fleet.admin.bucket("kept");
  await kept.put("before", "the takeover");
  const before = pidsOf(fleet);
  const tasks = Array.from({ length: TASKS }, (_, index) => ({
    key: `t${index}`,
    capability: "work.wait",
    input: { ms: TASK_MS },
  }));
  const folder = await dataDirectoryOf(fleet);
  const jobId = await submitTasks(user.client, tasks);
  const { job: running } = await user.client.jobs.getJob({ jobId });
  expect(running?.tasks?.succeeded).toBeLessThan(TASKS);

  await takeOver(fleet, folder);
  for (const [name, pid] of before) {
    // It remembers nothing of a database.
    if (name === "gateway") continue;
    await waitFor(() => ![0, pid].includes(pidsOf(fleet).get(name) ?? 0), {
      timeoutMs: 30_000,
      what: `${name} to begin anew`,
    });
    const log = readFileSync(join(fleet.stack.info.dataDir, "logs", `${name}.log`), "utf8");
    expect(log, name).toContain("DATABASE_HISTORY_CHANGED");
  }
  expect(pidsOf(fleet).get("gateway")).toBe(before.get("gateway"));

  const job = await waitForEnd(user.client, jobId, 60_000);
  expect(job).toMatchObject({
    state: JobState.COMPLETED,
    tasks: { total: TASKS, succeeded: TASKS },
  });
  await kept.put("after", "the takeover");
  const values = new Map<string, unknown>();
  for await (const { key, value } of kept.list()) values.set(key, value);
  expect(values).toEqual(
    new Map([
      ["after", "the takeover"],
      ["before", "the takeover"],
    ]),
  );
}, 180_000);
