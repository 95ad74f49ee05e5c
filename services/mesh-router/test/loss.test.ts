import { SessionState } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture } from "./_router.ts";

const SHORT = { heartbeatIntervalMs: 100, lostAfterMs: 400 };

let fixture: MeshFixture;

beforeAll(async () => {
  fixture = await MeshFixture.create();
});
afterAll(() => fixture.close());

describe("a silent session", () => {
  it("is lost, and its stream ended, while one with heartbeats lives", async () => {
    const router = await fixture.start(SHORT);
    const orchestrator = await router.orchestrator();
    const silent = await router.agent("silent");
    const alive = await router.agent("alive");
    const beat = setInterval(() => alive.send({ heartbeat: { busySlots: 0 } }), 50);
    fixture.onClose(() => clearInterval(beat));
    expect(await silent.peer.untilEnded()).toMatchObject({
      kind: "deadline",
      reason: "SESSION_LOST",
    });
    await orchestrator.untilState("silent", silent.epoch, SessionState.LOST);
    expect(orchestrator.stateOf("alive", alive.epoch)).toBe(SessionState.CONNECTED);
    expect(alive.peer.ended).toBe(false);
    const again = await router.agent("silent", { resumeToken: silent.resumeToken });
    expect(again.welcome?.resumed).toBe(false);
    expect(again.epoch).toBeGreaterThan(silent.epoch);
    await router.stop();
  });

  it("is lost when it does not come back after its stream broke", async () => {
    const router = await fixture.start(SHORT);
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("gone");
    agent.peer.break();
    await orchestrator.untilState("gone", agent.epoch, SessionState.DETACHED);
    await orchestrator.untilState("gone", agent.epoch, SessionState.LOST);
    await router.stop();
  });
});

describe("a restarted router", () => {
  it("resumes sessions with their epoch", async () => {
    const before = await fixture.start({ routerId: "restarts" });
    const back = await before.agent("comes-back", { slots: 6 });
    await before.agent("stays-away");
    await before.stop();
    expect((await back.peer.untilEnded())?.reason).toBe("SERVER_DRAINING");

    const after = await fixture.start({ routerId: "restarts" });
    const orchestrator = await after.orchestrator();
    const names = new Set(orchestrator.snapshot.map(({ session }) => session?.agentId));
    expect(names).toEqual(new Set(["comes-back", "stays-away"]));
    expect(orchestrator.stateOf("comes-back", back.epoch)).toBe(SessionState.DETACHED);
    const again = await after.agent("comes-back", { resumeToken: back.resumeToken });
    expect(again.welcome).toMatchObject({ resumed: true, epoch: back.epoch });
    expect(again.resumeToken).toBe(back.resumeToken);
    await orchestrator.untilState("comes-back", back.epoch, SessionState.CONNECTED);
    await after.stop();
  });

  it("loses the sessions that do not come back", async () => {
    const before = await fixture.start({ routerId: "loses" });
    const away = await before.agent("never-back");
    await before.stop();
    const times = { heartbeatIntervalMs: 500, lostAfterMs: 1_000 };
    // As if the replica had been away for most of the window that its drain granted.
    await fixture.sql("UPDATE sessions SET expires_at = now() WHERE agent_id = 'never-back'");
    const after = await fixture.start({ ...times, routerId: "loses" });
    const orchestrator = await after.orchestrator();
    await waitFor(
      async () => {
        const fresh = await after.orchestrator("orchestrator-b");
        fresh.peer.break();
        return fresh.snapshot.every(({ session }) => session?.agentId !== "never-back");
      },
      { what: "the session to be given up" },
    );
    const last = orchestrator.stateOf("never-back", away.epoch);
    expect([undefined, SessionState.LOST]).toContain(last);
    const again = await after.agent("never-back", { resumeToken: away.resumeToken });
    expect(again.welcome?.resumed).toBe(false);
    expect(again.epoch).toBeGreaterThan(away.epoch);
    await after.stop();
  });

  it("begins a new epoch for a resume token that expired in the meantime", async () => {
    const times = { heartbeatIntervalMs: 50, lostAfterMs: 200, reconnectWindowMs: 200 };
    const before = await fixture.start({ ...times, routerId: "expires" });
    const agent = await before.agent("too-late");
    await before.stop();
    const other = await fixture.start({ ...times, routerId: "expires-other" });
    const startedAt = Date.now();
    await waitFor(() => Date.now() - startedAt > 600, { what: "the end of the grace" });
    const again = await other.agent("too-late", { resumeToken: agent.resumeToken });
    expect(again.welcome?.resumed).toBe(false);
    expect(again.epoch).toBeGreaterThan(agent.epoch);
    await other.stop();
  });
});

describe("two replicas", () => {
  it("pass a session on without ending its epoch", async () => {
    const a = await fixture.start({ ...SHORT, lostAfterMs: 800, routerId: "replica-a" });
    const b = await fixture.start({ ...SHORT, lostAfterMs: 800, routerId: "replica-b" });
    const onA = await a.orchestrator();
    const onB = await b.orchestrator();
    const first = await a.agent("moves");
    first.peer.break();
    await onA.untilState("moves", first.epoch, SessionState.DETACHED);
    const second = await b.agent("moves", { resumeToken: first.resumeToken });
    expect(second.welcome).toMatchObject({ resumed: true, epoch: first.epoch });
    const beat = setInterval(() => second.send({ heartbeat: { busySlots: 0 } }), 50);
    fixture.onClose(() => clearInterval(beat));
    await onB.untilState("moves", first.epoch, SessionState.CONNECTED);
    // A gives its half up quietly: a new snapshot no longer has it, and nobody heard LOST.
    await waitFor(
      async () => {
        const fresh = await a.orchestrator("orchestrator-b");
        fresh.peer.break();
        return fresh.snapshot.every(({ session }) => session?.agentId !== "moves");
      },
      { what: "replica a to forget the session" },
    );
    expect(onA.stateOf("moves", first.epoch)).toBe(SessionState.DETACHED);
    expect(second.peer.ended).toBe(false);
    await a.stop();
    await b.stop();
  });

  it("give up the sessions of a replica that is gone", async () => {
    const times = { heartbeatIntervalMs: 50, lostAfterMs: 200 };
    const survivor = await fixture.start({ ...times, routerId: "survivor" });
    const orchestrator = await survivor.orchestrator();
    await fixture.sql("INSERT INTO routers VALUES ('dead', now() - interval '1 minute')");
    await fixture.sql(
      `INSERT INTO sessions (namespace, agent_id, epoch, session_id, router_id, resume_hash, slots, live, opened_at)
       VALUES ('default', 'orphan', 7, 'ses_orphan', 'dead', '\\x00', 1, true, now())`,
    );
    await orchestrator.untilState("orphan", 7n, SessionState.LOST);
    const again = await survivor.agent("orphan");
    expect(again.epoch).toBeGreaterThan(7n);
    await survivor.stop();
  });
});
