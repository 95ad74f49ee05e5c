import { TaskState } from "@nexus/proto/orchestrator";
import { TcpProxy, waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Harness } from "./_harness.ts";
import { silent } from "./_router.ts";

const harness = new Harness();
let proxy: TcpProxy;

beforeEach(async () => {
  proxy = await TcpProxy.listen();
  const meshRouterAddresses = [`127.0.0.1:${proxy.port}`];
  await harness.open({ meshRouterAddresses, lostAfterMs: 60_000, channelSilentMaxMs: 4_000 });
  proxy.aim(harness.router.port);
});
afterEach(async () => {
  await harness.close();
  await proxy.close();
});

describe("a router whose connection went silent", () => {
  it("gets nothing new once that is noticed, and then what it missed, under the same leases", async () => {
    harness.agent({ agentId: "a", capabilities: ["x"], slots: 2, behaviour: silent });
    const submit = () => harness.submit({ tasks: [{ key: "t", capability: "x" }] });
    await submit();
    await waitFor(() => harness.router.assignments[0], { what: "an assignment" });
    proxy.silence();
    const missed = await submit();
    await waitFor(async () => (await harness.count("leases")) === 2, { what: "its lease" });
    const { rows } = await harness.db.query("SELECT fence FROM leases ORDER BY fence");
    const { t: waiting } = await harness.tasksOf(await submit());
    await waitFor(
      async () => {
        const { now } = await harness.client.explainTask({ taskId: waiting?.taskId ?? "" });
        return now?.rejections[0]?.reason === "NOT_CONNECTED";
      },
      { what: "the silence to be noticed", timeoutMs: 20_000 },
    );
    expect(harness.router.assignments).toHaveLength(1);
    expect((await harness.tasksOf(missed))["t"]).toMatchObject({ state: TaskState.LEASED });
    proxy.replace();
    const again = () => harness.router.assignments.slice(1);
    await waitFor(() => again().length >= 2, { what: "what was missed", timeoutMs: 20_000 });
    const fences = again().map(({ assignment }) => assignment.fence.toString());
    expect(fences.sort()).toEqual(rows.map((row) => (row as { fence: string }).fence));
  });
});
