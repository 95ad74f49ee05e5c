import { createIds, createManualClock, type NexusError } from "@nexus/shared";
import { beforeEach, describe, expect, it } from "vitest";
import { type FakeRows, FakeSessionStore } from "../../store/session-store.fake.ts";
import { DispatchHub } from "../dispatch/dispatch-hub.ts";
import { NO_MAIL } from "../mail/mail.fake.ts";
import { MessageEngine } from "../message/message-engine.ts";
import { aloneOutward } from "../remote/outward.fake.ts";
import { StandingJournal, standingOf } from "../topic/standing-journal.ts";
import type { Session, SessionStream } from "./session.ts";
import { SessionDirectory } from "./session-directory.ts";
import { SessionLifecycle } from "./session-lifecycle.ts";
import { SessionOpener } from "./session-opener.ts";

const LOST_AFTER_MS = 15_000;
const SWEEP_INTERVAL_MS = 750;

class FakeStream implements SessionStream {
  error: NexusError | undefined;
  finished = false;
  hasAnswers = false;
  wakes = 0;
  wake(): void {
    this.wakes += 1;
  }
  fail(error: NexusError): void {
    this.error ??= error;
  }
  finish(): void {
    this.finished = true;
  }
}

function createWorld(routerId = "a", rows: FakeRows = new Map()) {
  const clock = createManualClock();
  const directory = new SessionDirectory();
  const store = new FakeSessionStore(routerId, rows);
  const said: string[] = [];
  const quiet = {
    orchestratorAttached: () => undefined,
    orchestratorDetached: () => undefined,
    assignmentRefused: () => undefined,
    updateDropped: () => undefined,
    messageSettled: () => undefined,
    messageDelivered: () => undefined,
    sessionOpened: () => undefined,
    sessionDetached: () => undefined,
    sessionEnded: () => undefined,
  };
  const nowMs = clock.nowMs();
  const engine = new MessageEngine({
    outward: aloneOutward(directory),
    events: quiet,
    ...NO_MAIL,
    idPrefix: "p.",
    nowMs,
  });
  const hub = new DispatchHub({ directory, events: quiet, onTally: () => undefined });
  const journal = new StandingJournal(() => undefined);
  const observer = {
    sessionChanged: ({ agentId, epoch, state }: Session) =>
      void said.push(`${agentId}@${epoch} ${state}`),
  };
  const lifecycle = new SessionLifecycle({
    directory,
    store,
    engine,
    hub,
    journal,
    observers: [observer],
    events: quiet,
    clock,
    lostAfterMs: LOST_AFTER_MS,
  });
  const opener = new SessionOpener({
    directory,
    lifecycle,
    store,
    journal,
    events: quiet,
    clock,
    ids: createIds(clock),
    sessionsMax: 2,
  });
  const open = (agentId: string, resumeToken = "", stream = new FakeStream()) =>
    opener
      .open(
        { namespace: "default", agentId, slots: 1, messageCredit: 0, resumeToken, complete: "" },
        stream,
      )
      .then((opened) => ({ ...opened, stream }));
  return { clock, directory, store, journal, lifecycle, open, said };
}

type World = ReturnType<typeof createWorld>;
let world: World;
beforeEach(() => {
  world = createWorld();
});

/** Lets everything that waits for the fake store go on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
}

/** Time passes, with sweeps as the loop makes them. */
async function sweepAfter(of: World, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= SWEEP_INTERVAL_MS) {
    await sweepLateBy(of, Math.min(left, SWEEP_INTERVAL_MS));
  }
}

/** Time passes without a sweep, and then there is one. */
async function sweepLateBy({ clock, lifecycle }: World, ms: number): Promise<void> {
  clock.advance(ms);
  lifecycle.sweep(clock.nowMs());
  await settle();
}

describe("SessionLifecycle", () => {
  it("takes the time for which it was held up itself for no agent's silence", async () => {
    const [here, away] = [await world.open("here"), await world.open("away")];
    world.lifecycle.detach(away.session, away.stream, "broken");
    await sweepAfter(world, LOST_AFTER_MS / 2);
    await sweepLateBy(world, 60_000);
    await sweepAfter(world, LOST_AFTER_MS / 4);
    expect([here.session.state, away.session.state]).toEqual(["connected", "detached"]);
    await sweepAfter(world, LOST_AFTER_MS / 2);
    expect([here.session.over, away.session.over]).toEqual([true, true]);
  });

  it("counts what it hears after a hold-up from when it came", async () => {
    const { session } = await world.open("here");
    await sweepAfter(world, SWEEP_INTERVAL_MS);
    world.clock.advance(60_000);
    world.lifecycle.heard(session, world.clock.nowMs());
    await sweepLateBy(world, 0);
    await sweepAfter(world, LOST_AFTER_MS - SWEEP_INTERVAL_MS);
    expect(session.over).toBe(false);
    await sweepAfter(world, SWEEP_INTERVAL_MS);
    expect(session.over).toBe(true);
  });

  it("keeps a session that is heard of and loses a silent one", async () => {
    const { session, stream } = await world.open("a");
    await sweepAfter(world, LOST_AFTER_MS - 1);
    world.lifecycle.heard(session, world.clock.nowMs());
    await sweepAfter(world, LOST_AFTER_MS - 1);
    expect(session.state).toBe("connected");
    await sweepAfter(world, 1);
    expect(stream.error?.reason).toBe("SESSION_LOST");
    expect(session.state).toBe("lost");
    expect(world.directory.size).toBe(0);
    expect(world.said.at(-1)).toBe("a@1 lost");
  });

  it("resumes a held session without the store, within its time only", async () => {
    const { session, stream, resumeToken } = await world.open("a");
    world.lifecycle.detach(session, stream, "broken");
    world.store.away = true;
    const calls = world.store.calls;
    const again = await world.open("a", resumeToken);
    expect(again).toMatchObject({ session, resumed: true, resumeToken });
    expect(world.store.calls).toBe(calls);
    world.lifecycle.detach(session, again.stream, "broken");
    world.clock.advance(LOST_AFTER_MS);
    await expect(world.open("a", resumeToken)).rejects.toMatchObject({
      reason: "DATABASE_UNAVAILABLE",
    });
  });

  it("ignores the end of a stream that was replaced", async () => {
    const first = await world.open("a");
    const second = await world.open("a", first.resumeToken);
    expect(first.stream.error?.reason).toBe("SESSION_SUPERSEDED");
    world.lifecycle.detach(first.session, first.stream, "broken");
    expect(second.session.state).toBe("connected");
  });

  it("does not declare a session lost while the store cannot say whose it is", async () => {
    const { session, stream } = await world.open("a");
    world.lifecycle.detach(session, stream, "broken");
    world.store.away = true;
    await sweepAfter(world, LOST_AFTER_MS);
    expect(session.state).toBe("detached");
    world.store.away = false;
    await sweepAfter(world, 1);
    expect(session.state).toBe("lost");
  });

  it("forgets without a word a session that moved to another replica", async () => {
    const rows: FakeRows = new Map();
    const [a, b] = [createWorld("a", rows), createWorld("b", rows)];
    const first = await a.open("x");
    a.lifecycle.detach(first.session, first.stream, "broken");
    const moved = await b.open("x", first.resumeToken);
    expect(moved.session).toMatchObject({ epoch: 1n, state: "connected" });
    await sweepAfter(a, LOST_AFTER_MS);
    expect(a.directory.size).toBe(0);
    expect(a.said).not.toContain("x@1 lost");
  });

  it("tells the end of an epoch that another replica held", async () => {
    const rows: FakeRows = new Map();
    const [a, b] = [createWorld("a", rows), createWorld("b", rows)];
    await a.open("x");
    await b.open("x");
    expect(b.said).toEqual(["x@1 lost", "x@2 connected"]);
  });

  it("stores a goodbye again when the store was away", async () => {
    const { session, stream, resumeToken } = await world.open("a");
    world.store.away = true;
    world.lifecycle.goodbye(session);
    expect([session.state, stream.finished]).toEqual(["closed", true]);
    await settle();
    world.store.away = false;
    await sweepAfter(world, 1);
    expect((await world.open("a", resumeToken)).resumed).toBe(false);
  });

  it("gives a session back its slots only when nothing drains", async () => {
    const { session } = await world.open("a");
    world.lifecycle.setSlots(session, 0);
    expect(session.state).toBe("draining");
    world.lifecycle.setSlots(session, 3);
    expect(session.state).toBe("connected");
    world.lifecycle.drain("stop", 30_000);
    world.lifecycle.setSlots(session, 5);
    expect(session.state).toBe("draining");
    expect(session.outbox.take()?.drain).toEqual({ reason: "stop", reconnectWithinMs: 30_000 });
    await expect(world.open("b")).rejects.toMatchObject({ reason: "SERVER_DRAINING" });
  });

  it("keeps sessions resumable for the window once it drains", async () => {
    const { session, stream } = await world.open("a");
    world.lifecycle.drain("stop", 30_000);
    world.lifecycle.detach(session, stream, "broken");
    const [noted] = world.journal.take(10);
    expect(noted).toBe(session);
    expect(standingOf(session, world.clock.nowMs()).expiresInMs).toBe(30_000);
  });

  it("ends the stream of an agent that reads nothing of what waits", async () => {
    const { session, stream } = await world.open("a");
    session.pushResult(new Uint8Array(1));
    await sweepAfter(world, 0);
    world.clock.advance(LOST_AFTER_MS - 1);
    world.lifecycle.heard(session, world.clock.nowMs());
    await sweepAfter(world, 1);
    expect(stream.error?.reason).toBe("SESSION_TOO_SLOW");
    world.lifecycle.detach(session, stream, "too_slow");
    expect([session.state, session.outbox.items, session.overflowed]).toEqual([
      "detached",
      0,
      false,
    ]);
  });

  it("ends the stream of an agent that reads no answers", async () => {
    const { session, stream } = await world.open("a");
    stream.hasAnswers = true;
    await sweepAfter(world, 0);
    world.clock.advance(LOST_AFTER_MS - 1);
    world.lifecycle.heard(session, world.clock.nowMs());
    await sweepAfter(world, 1);
    expect(stream.error?.reason).toBe("SESSION_TOO_SLOW");
  });

  it("loses a session whose token was revoked, at once", async () => {
    const { session, stream, resumeToken } = await world.open("a");
    world.lifecycle.detach(session, stream, "revoked");
    expect(world.said.at(-1)).toBe("a@1 lost");
    await settle();
    expect((await world.open("a", resumeToken)).resumed).toBe(false);
  });

  it("counts sessions that are being opened towards the limit", async () => {
    const results = await Promise.allSettled(["a", "b", "c"].map((agent) => world.open(agent)));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  });

  it("adopts what an earlier run left and loses it after its grace", async () => {
    const rows: FakeRows = new Map();
    const before = createWorld("a", rows);
    const { resumeToken } = await before.open("x");
    await before.open("y");
    const after = createWorld("a", rows);
    after.lifecycle.adopt(await after.store.loadSurvivors(LOST_AFTER_MS));
    expect(after.said).toEqual(["x@1 detached", "y@1 detached"]);
    expect(await after.open("x", resumeToken)).toMatchObject({ resumed: true, resumeToken });
    await sweepAfter(after, LOST_AFTER_MS);
    expect(after.said).toContain("y@1 lost");
  });
});
