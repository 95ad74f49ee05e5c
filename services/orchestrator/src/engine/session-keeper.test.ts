import { describe, expect, it } from "vitest";
import type { SessionReport } from "../domain/ports.ts";
import type { Ending } from "../domain/settlement.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import { addAgent, fakeFleet, fakeLease } from "./engine.fake.ts";
import { LeaseBook } from "./lease-book.ts";
import type { EngineParts } from "./parts.ts";
import { SessionKeeper } from "./session-keeper.ts";

const LOST_AFTER_MS = 1_000;

/** A keeper over one agent `a` that is connected to router `r` with epoch 5 and holds one lease. */
function setUp() {
  const fleet = fakeFleet();
  const book = new LeaseBook();
  const agent = addAgent(fleet, "a", { slots: 4 });
  agent.session = { epoch: 5n, state: "CONNECTED", slots: 4, router: "r" };
  const live = fakeLease(agent, 5n);
  book.add(live);
  const ended: [bigint, Ending][] = [];
  const resent: LiveLease[] = [];
  const store = { isAway: false, isFull: false };
  /** Ends that wait for a store that is full. */
  const waiting = new Set<LiveLease>();
  let nowMs = 0;
  const keeper = new SessionKeeper({
    parts: {
      fleet,
      book,
      limits: { lostAfterMs: LOST_AFTER_MS },
      events: { agentLost: () => undefined, refused: () => undefined },
      nowMs: () => nowMs,
    } as unknown as EngineParts,
    end(lease, ending) {
      if (waiting.has(lease)) return false;
      ended.push([lease.lease.agentEpoch, ending]);
      if (store.isFull) waiting.add(lease);
      else if (!store.isAway) book.remove(lease.lease.task.taskId);
      return true;
    },
    onChanged: (entry) => fleet.refresh(entry),
    resend: (leases) => resent.push(...leases),
  });
  return {
    keeper,
    agent,
    book,
    live,
    ended,
    resent,
    store,
    waiting,
    at(ms: number) {
      nowMs = ms;
    },
  };
}

function report(state: SessionReport["state"], epoch: bigint, slots = 4): SessionReport {
  return { session: { namespace: "default", agentId: "a", epoch }, state, slots };
}

function connection(agent: AgentEntry): string {
  return `${agent.connection} ${agent.session?.epoch ?? "-"}`;
}

describe("SessionKeeper", () => {
  /** What was reported by whom about which epoch, how the agent stands then, and how many leases ended. */
  const cases: readonly [string, SessionReport["state"], bigint, string, number][] = [
    ["r", "CONNECTED", 5n, "CONNECTED 5", 0],
    ["r", "DETACHED", 5n, "DETACHED 5", 0],
    ["r", "DRAINING", 5n, "DRAINING 5", 0],
    ["r", "CLOSED", 5n, "NONE -", 1],
    ["r", "LOST", 5n, "NONE -", 1],
    ["r", "CONNECTED", 6n, "CONNECTED 6", 1],
    ["r", "LOST", 4n, "CONNECTED 5", 0],
    ["r", "CONNECTED", 4n, "CONNECTED 5", 0],
    ["other", "DETACHED", 5n, "CONNECTED 5", 0],
    ["other", "LOST", 5n, "CONNECTED 5", 0],
    ["other", "CONNECTED", 5n, "CONNECTED 5", 0],
    ["other", "LOST", 6n, "NONE -", 1],
  ];
  for (const [router, state, epoch, expected, leases] of cases) {
    it(`gives ${expected} when ${router} reports ${state} of epoch ${epoch}`, () => {
      const t = setUp();
      t.keeper.onReport(router, report(state, epoch));
      expect(connection(t.agent)).toBe(expected);
      expect(t.ended).toHaveLength(leases);
    });
  }

  it("blames a lost agent, but not one that said goodbye or whose router is away", () => {
    for (const [state, blamed] of [
      ["LOST", true],
      ["CLOSED", false],
    ] as const) {
      const t = setUp();
      t.keeper.onReport("r", report(state, 5n));
      expect(t.ended[0]?.[1]).toMatchObject({ kind: "LOST", agentsDoing: blamed });
    }
    const away = setUp();
    away.keeper.onStreamLost("r");
    away.at(LOST_AFTER_MS);
    away.keeper.reapAbsent();
    expect(away.ended[0]?.[1]).toMatchObject({ kind: "LOST", agentsDoing: false });
  });

  describe("an agent that was away when its router came back", () => {
    const setUpAway = () => {
      const t = setUp();
      t.keeper.onStreamLost("r");
      t.keeper.onStreamOpened("r");
      t.keeper.onReport("r", report("DETACHED", 5n));
      t.keeper.onSnapshotComplete("r");
      return t;
    };
    const blamed = (t: ReturnType<typeof setUp>) => t.ended.map(([, ending]) => ending);

    it.each([["LOST", 5n] as const, ["CONNECTED", 6n] as const])(
      "is not blamed: %s of epoch %i",
      (state, epoch) => {
        const t = setUpAway();
        t.keeper.onReport("r", report(state, epoch));
        expect(blamed(t)).toMatchObject([{ kind: "LOST", agentsDoing: false }]);
      },
    );

    it("is blamed again for what it does once it was back", () => {
      const t = setUpAway();
      t.keeper.onReport("r", report("CONNECTED", 5n));
      t.keeper.onReport("r", report("DETACHED", 5n));
      t.keeper.onReport("r", report("LOST", 5n));
      expect(blamed(t)).toMatchObject([{ kind: "LOST", agentsDoing: true }]);
    });
  });

  it("blames no agent whose session broke before this replica knew of it", () => {
    const t = setUp();
    t.agent.session = undefined;
    t.keeper.onReport("r", report("DETACHED", 5n));
    t.keeper.onReport("r", report("LOST", 5n));
    expect(t.ended[0]?.[1]).toMatchObject({ kind: "LOST", agentsDoing: false });
  });

  it("keeps leases while the router is away, until it has been away for too long", () => {
    const t = setUp();
    t.keeper.onStreamLost("r");
    expect(t.agent.connection).toBe("DETACHED");
    t.at(LOST_AFTER_MS - 1);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
    expect(t.agent.connection).toBe("NONE");
  });

  it("takes a session up again that is in the next snapshot, and sends what is silent again", () => {
    const t = setUp();
    t.keeper.onStreamLost("r");
    t.keeper.onStreamOpened("r");
    t.keeper.onReport("r", report("CONNECTED", 5n));
    t.keeper.onSnapshotComplete("r");
    expect(t.agent.connection).toBe("CONNECTED");
    expect(t.resent).toEqual([t.live]);
    t.at(10 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(0);
  });

  it("gives a session that is not in the snapshot its time from the snapshot on", () => {
    const t = setUp();
    t.keeper.onStreamLost("r");
    t.at(900);
    t.keeper.onStreamOpened("r");
    t.keeper.onSnapshotComplete("r");
    t.at(LOST_AFTER_MS + 899);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(LOST_AFTER_MS + 900);
    expect(t.keeper.reapAbsent()).toBe(1);
  });

  it("gives the agents of a router that starts again and again no time for ever", () => {
    const t = setUp();
    const start = (ms: number) => {
      t.at(ms);
      t.keeper.onStreamLost("r");
      t.keeper.onStreamOpened("r");
      t.keeper.onSnapshotComplete("r");
    };
    for (let ms = 0; ms < 3 * LOST_AFTER_MS; ms += LOST_AFTER_MS / 2) {
      start(ms);
      expect(t.keeper.reapAbsent()).toBe(0);
    }
    start(3 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
  });

  it("gives an agent that was back all its time when it is away again", () => {
    const t = setUp();
    t.keeper.onStreamLost("r");
    t.keeper.onStreamOpened("r");
    t.keeper.onReport("r", report("CONNECTED", 5n));
    t.keeper.onSnapshotComplete("r");
    t.at(10 * LOST_AFTER_MS);
    t.keeper.onStreamLost("r");
    t.at(11 * LOST_AFTER_MS - 1);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(11 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
  });

  it("ends the leases of an agent that is gone again, when that could not be stored", () => {
    const t = setUp();
    t.store.isAway = true;
    t.keeper.onStreamLost("r");
    t.at(LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
    t.store.isAway = false;
    t.at(2 * LOST_AFTER_MS - 1);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(2 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
    t.at(9 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(0);
  });

  it("counts an end that waits to be stored once, however long that takes", () => {
    const t = setUp();
    const outlived = fakeLease(t.agent, 4n);
    t.book.add(outlived);
    t.store.isFull = true;
    t.keeper.reapAbsent();
    t.keeper.onStreamLost("r");
    t.at(LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(2);
    for (let times = 2; times < 10; times += 1) {
      t.at(times * LOST_AFTER_MS);
      expect(t.keeper.reapAbsent()).toBe(0);
    }
    expect(t.ended).toHaveLength(2);
    t.waiting.clear();
    t.at(10 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(2);
  });

  it("does not forget that a session is over by the late end of an earlier one", () => {
    const t = setUp();
    t.keeper.onReport("r", report("CLOSED", 5n));
    t.keeper.onReport("other", report("LOST", 3n));
    expect(t.agent.endedEpoch).toBe(5n);
  });

  it("gives leases that were loaded their time from the load on, whatever was before", () => {
    const t = setUp();
    t.agent.session = undefined;
    t.agent.absentSinceMs = 0;
    t.at(5_000);
    t.keeper.onLoaded(true);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(5_000 + LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
  });

  it("ends leases that were loaded after their session was over", () => {
    const newer = setUp();
    newer.book.add(fakeLease(newer.agent, 4n));
    newer.keeper.onLoaded(true);
    expect(newer.ended).toMatchObject([[4n, { kind: "LOST", agentsDoing: false }]]);
    const gone = setUp();
    gone.keeper.onReport("r", report("CLOSED", 5n));
    gone.book.add(fakeLease(gone.agent, 5n));
    gone.keeper.onLoaded(false);
    expect(gone.ended.map(([epoch]) => epoch)).toEqual([5n, 5n]);
    expect(gone.book.size).toBe(0);
  });

  it("ends a lease that outlives its session, once it did for too long, and again if that fails", () => {
    const t = setUp();
    const outlived = fakeLease(t.agent, 4n);
    t.book.add(outlived);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(LOST_AFTER_MS - 1);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
    expect(t.ended).toMatchObject([[4n, { kind: "LOST" }]]);
    t.book.add(outlived);
    t.at(2 * LOST_AFTER_MS - 1);
    expect(t.keeper.reapAbsent()).toBe(0);
    t.at(2 * LOST_AFTER_MS);
    expect(t.keeper.reapAbsent()).toBe(1);
  });

  it("ends a refused assignment, lets the agent cool down, and ignores a refusal of another lease", () => {
    const t = setUp();
    const session = { namespace: "default", agentId: "a", epoch: 5n };
    const { taskId } = t.live.lease.task;
    const refusal = { session, taskId, fence: t.live.lease.fence, reason: "DETACHED" };
    t.keeper.onRefusal({ ...refusal, fence: 999n });
    t.keeper.onRefusal({ ...refusal, session: { ...session, epoch: 4n } });
    expect(t.ended).toEqual([]);
    t.keeper.onRefusal(refusal);
    expect(t.ended[0]?.[1].kind).toBe("REFUSED");
    expect(t.agent.coolUntilMs).toBeGreaterThan(0);
  });

  it("takes a slot that went to another replica for nobody's fault", () => {
    const t = setUp();
    const session = { namespace: "default", agentId: "a", epoch: 5n };
    const { taskId } = t.live.lease.task;
    t.keeper.onRefusal({ session, taskId, fence: t.live.lease.fence, reason: "NO_SLOT" });
    expect(t.ended[0]?.[1].kind).toBe("CROWDED");
    expect(t.agent.coolUntilMs).toBe(0);
  });
});
