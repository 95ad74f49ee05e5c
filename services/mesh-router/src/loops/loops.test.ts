import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import type { SessionName } from "../domain/message/carried.ts";
import { Session } from "../domain/session/session.ts";
import { StandingJournal } from "../domain/topic/standing-journal.ts";
import { FakeSessionStore } from "../store/session-store.fake.ts";
import { createRouterRenewal } from "./router-renewal.ts";
import { createStandingWriter } from "./standing-writer.ts";

const GRACE_MS = 30_000;
const ORPHAN: SessionName = { namespace: "default", agentId: "a", epoch: 1n };

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
        presenceReported: () => undefined,
        presenceFailed: () => undefined,
        mailWriteFailed: () => undefined,
        agentWatchFailed: () => undefined,
        subscriptionsFailed: () => undefined,
        locateFailed: () => undefined,
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
