import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { SessionName } from "../domain/message/carried.ts";
import { PresenceBoard } from "../domain/session/presence.ts";
import { Session } from "../domain/session/session.ts";
import { SessionDirectory } from "../domain/session/session-directory.ts";
import { StandingJournal } from "../domain/topic/standing-journal.ts";
import { FakeSessionStore } from "../store/session-store.fake.ts";
import { createPresenceReporter } from "./presence-reporter.ts";
import { createRouterRenewal } from "./router-renewal.ts";
import { createStandingWriter } from "./standing-writer.ts";

const GRACE_MS = 30_000;
const ORPHAN: SessionName = { namespace: "default", agentId: "a", epoch: 1n };

const NOBODY_HEARS = {
  presenceReported: () => undefined,
  presenceFailed: () => undefined,
  renewalFailed: () => undefined,
  mailWriteFailed: () => undefined,
  agentWatchFailed: () => undefined,
  subscriptionsFailed: () => undefined,
  locateFailed: () => undefined,
};

class OrphanedStore extends FakeSessionStore {
  override endOrphans(): Promise<SessionName[]> {
    return Promise.resolve([ORPHAN]);
  }
}

describe("the renewal of a replica", () => {
  it("judges others only after a whole grace without a failure of its own", async () => {
    const clock = createManualClock();
    const store = new OrphanedStore("a");
    const found: SessionName[] = [];
    let failures = 0;
    const step = createRouterRenewal({
      store,
      events: {
        ...NOBODY_HEARS,
        renewalFailed: () => {
          failures += 1;
        },
      },
      onOrphans: (orphans) => found.push(...orphans),
      graceMs: GRACE_MS,
      nowMs: () => clock.nowMs(),
    });
    await step();
    clock.advance(GRACE_MS - 1);
    await step();
    expect(found).toEqual([]);
    store.away = true;
    await step();
    expect(failures).toBe(1);
    store.away = false;
    clock.advance(1);
    await step();
    clock.advance(GRACE_MS - 1);
    await step();
    expect(found).toEqual([]);
    clock.advance(1);
    await step();
    expect(found).toEqual([ORPHAN]);
  });
});

describe("the standing writer", () => {
  it("writes each session once, as it stands, and keeps what was not written", async () => {
    let notes = 0;
    const journal = new StandingJournal(() => {
      notes += 1;
    });
    const store = new FakeSessionStore("a");
    const write = createStandingWriter({ journal, store, nowMs: () => 0 });
    const session = new Session({
      ...ORPHAN,
      sessionId: "ses",
      resumeHash: new Uint8Array(),
      slots: 1,
      nowMs: 0,
    });
    journal.note(session);
    journal.note(session);
    expect([journal.size, notes]).toEqual([1, 1]);
    store.away = true;
    await expect(write()).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(journal.size).toBe(1);
    store.away = false;
    await write();
    expect(journal.size).toBe(0);
    session.state = "lost";
    journal.note(session);
    await write();
    expect(store.calls).toBe(2);
  });
});

describe("the reporter of presence", () => {
  it("reports everything at its time, when steps come a little early or take a while", async () => {
    const clock = createManualClock();
    const startMs = clock.nowMs();
    const directory = new SessionDirectory();
    const nothing = new Uint8Array();
    const init = { ...ORPHAN, sessionId: "ses", resumeHash: nothing, slots: 1, nowMs: startMs };
    directory.add(new Session(init));
    const reportedAtMs: number[] = [];
    const step = createPresenceReporter({
      board: new PresenceBoard(() => undefined),
      directory,
      registry: {
        report: ({ length }) => {
          reportedAtMs.push(clock.nowMs() - startMs);
          clock.advance(3);
          return Promise.resolve(length);
        },
      },
      events: NOBODY_HEARS,
      refreshMs: 5_000,
      stepMs: 1_000,
      nowMs: () => clock.nowMs(),
    });
    for (let stepMs = 0; stepMs <= 10_000; stepMs += 1_000) {
      const early = stepMs === 5_000 ? 2 : 0;
      clock.advance(startMs + stepMs - early - clock.nowMs());
      await step(new AbortController().signal);
    }
    expect(reportedAtMs).toEqual([0, 4_998, 10_000]);
  });
});
