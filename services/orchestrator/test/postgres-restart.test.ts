import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@nexus/devkit";
import { provisionDatabase } from "@nexus/postgres";
import { JobState, TaskState } from "@nexus/proto/orchestrator";
import { createIds, NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";
import { type Behaviour, begin, type Received } from "./_router.ts";

const PASSWORD = "orchestrator-test";
const ids = createIds();
const harness = new Harness();
let server: EmbeddedPostgres;

beforeAll(async () => {
  const dataDir = join(tmpdir(), `nexus-orchestrator-${randomBytes(6).toString("hex")}`);
  server = await startEmbeddedPostgres({ dataDir, durable: false, removeWhenDone: true });
  const role = "orchestrator";
  await provisionDatabase(server.url, [{ role, password: PASSWORD, schema: "orchestrator" }]);
  const url = new URL(server.url);
  url.username = role;
  url.password = PASSWORD;
  const close = () => Promise.resolve();
  await harness.open({}, { url: url.href, adminUrl: server.url, close });
});
afterAll(async () => {
  await harness.close();
  await server.stop();
});

describe("a Postgres that is killed and stays away for a while", () => {
  it("has submissions refused as unavailable, and takes in afterwards what agents said meanwhile", async () => {
    const held: Received[] = [];
    const hold: Behaviour = (received, router) => {
      held.push(received);
      begin(received, router);
    };
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 10, behaviour: hold });
    const tasks = Array.from({ length: 10 }, (_, i) => ({ key: `t${i}`, capability: "x" }));
    const jobId = await harness.submit({
      tasks: [...tasks, { key: "end", capability: "x", dependencies: [{ taskKey: "t0" }] }],
    });
    await waitFor(() => held.length === 10, { what: "ten assignments" });
    // An accept that was lost with the server would have its lease sent again.
    const isBegun = async () => {
      const all = Object.values(await harness.tasksOf(jobId));
      return all.filter(({ state }) => state === TaskState.RUNNING).length === 10;
    };
    await waitFor(isBegun, { what: "ten begun tasks" });
    await server.kill();
    // Said while nothing can be stored; the agents hear no answer until it is.
    for (const received of held) harness.router.complete(received, "done");
    const refused = await harness.client
      .submitJob({ requestId: ids.next(), tasks }, { timeoutMs: 8_000 })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(NexusError);
    expect(["unavailable", "deadline"]).toContain((refused as NexusError).kind);
    expect(harness.router.results).toEqual([]);
    expect(await harness.isReady()).toBe(false);
    await server.restart();
    const last = await waitFor(() => held.find((item) => item.assignment.taskKey === "end"), {
      what: "the last task, which follows from what was said",
      timeoutMs: 20_000,
    });
    harness.router.complete(last, "done");
    await harness.untilState(jobId, JobState.COMPLETED);
    const { t0 } = await harness.tasksOf(jobId);
    expect(t0).toMatchObject({ state: TaskState.SUCCEEDED, attempts: 1 });
    await waitFor(() => harness.router.results.length === 11, { what: "eleven answers" });
    await waitFor(() => harness.isReady(), { what: "readiness" });
  }, 60_000);
});
