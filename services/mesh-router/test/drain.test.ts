import { SessionState } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture } from "./_router.ts";

let fixture: MeshFixture;

beforeAll(async () => {
  fixture = await MeshFixture.create();
});
afterAll(() => fixture.close());

describe("a router that stops", () => {
  it("asks agents to reconnect, ends streams as draining and lets another replica resume them", async () => {
    const first = await fixture.start({ routerId: "first", reconnectWindowMs: 20_000 });
    const second = await fixture.start({ routerId: "second" });
    const orchestrator = await first.orchestrator();
    const agent = await first.agent("moves-on");
    const stopped = first.stop();
    const end = { kind: "unavailable", reason: "SERVER_DRAINING" };
    expect(await agent.peer.untilEnded()).toMatchObject(end);
    expect(await orchestrator.peer.untilEnded()).toMatchObject(end);
    expect(agent.drain).toMatchObject({ reconnectWithin: { seconds: 20n } });
    expect(orchestrator.stateOf("moves-on", agent.epoch)).toBe(SessionState.DRAINING);
    await stopped;
    const moved = await second.agent("moves-on", { resumeToken: agent.resumeToken });
    expect(moved.welcome).toMatchObject({ resumed: true, epoch: agent.epoch });
    await second.stop();
  });

  it("stops within its grace although agents keep their streams open", async () => {
    const router = await fixture.start({ routerId: "stubborn", shutdownGraceMs: 1_000 });
    const agents = await Promise.all([1, 2, 3].map((i) => router.agent(`stubborn-${i}`)));
    const startedAt = performance.now();
    await router.stop();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await waitFor(() => agents.every(({ peer }) => peer.ended), { what: "all streams to end" });
  });
});
