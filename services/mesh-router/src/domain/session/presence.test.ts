import { beforeEach, describe, expect, it } from "vitest";
import { PRESENCE_ENDED_MAX } from "../limits.ts";
import { PresenceBoard, presenceStateOf } from "./presence.ts";
import { fakeSession } from "./session.fake.ts";
import type { Session } from "./session.ts";
import { SESSION_STATES } from "./session-state.ts";

let changes: number;
let board: PresenceBoard;
beforeEach(() => {
  changes = 0;
  board = new PresenceBoard(() => {
    changes += 1;
  });
});

const origin = { over: false, refuse: () => undefined };

function session(agentId = "a", slots = 1): Session {
  return fakeSession(agentId, { epoch: 3n, slots });
}

describe("presence", () => {
  it("has a word for every state", () => {
    const one = session();
    const words = SESSION_STATES.map((state) => {
      one.state = state;
      return presenceStateOf(one);
    });
    expect(words).toEqual(["online", "draining", "draining", "offline", "lost"]);
  });

  it("is busy when every slot is taken", () => {
    const one = session("a", 2);
    one.tasks.assign({ taskId: "t1", fence: 1n, slots: 1, origin, handedAtMs: 0 });
    expect(presenceStateOf(one)).toBe("online");
    one.tasks.assign({ taskId: "t2", fence: 1n, slots: 1, origin, handedAtMs: 0 });
    one.tasks.assign({ taskId: "t3", fence: 1n, slots: 1, origin, handedAtMs: 0 });
    expect(presenceStateOf(one)).toBe("busy");
    expect(board.describe([one])).toEqual([
      { namespace: "default", agentId: "a", epoch: 3n, state: "busy", slots: 2, busySlots: 2 },
    ]);
  });
});

describe("PresenceBoard", () => {
  it("collects changes once and forgets those that were undone", () => {
    const one = session();
    board.touch(one);
    board.touch(one);
    expect([board.size, changes]).toEqual([1, 1]);
    board.describe(board.takeChanges(512));
    board.touch(one);
    expect(board.size).toBe(0);
    one.tasks.assign({ taskId: "t", fence: 1n, slots: 1, origin, handedAtMs: 0 });
    board.touch(one);
    expect(board.size).toBe(1);
    one.tasks.end("t", 1n);
    board.touch(one);
    expect(board.size).toBe(0);
  });

  it("asks for a report at once, unless an agent has only become busy or free again", () => {
    const one = session();
    board.touch(one);
    board.describe(board.takeChanges(512));
    const before = changes;
    one.tasks.assign({ taskId: "t", fence: 1n, slots: one.slots, origin, handedAtMs: 0 });
    board.touch(one);
    expect([presenceStateOf(one), board.size, changes - before]).toEqual(["busy", 1, 0]);
    one.state = "draining";
    board.touch(one);
    expect([board.size, changes - before]).toEqual([1, 1]);
  });

  it("gives out at most what is asked for and takes back what did not arrive", () => {
    const many = Array.from({ length: 5 }, (_, i) => session(`a${i}`));
    for (const one of many) board.touch(one);
    const taken = board.takeChanges(3);
    board.describe(taken);
    expect([taken.length, board.size]).toEqual([3, 2]);
    board.putBack(taken);
    expect(board.size).toBe(5);
  });

  it("bounds what it keeps of ended sessions", () => {
    const ended = Array.from({ length: PRESENCE_ENDED_MAX + 5 }, (_, i) => session(`a${i}`));
    for (const one of ended) one.state = "closed";
    board.putBack(ended);
    expect(board.size).toBe(PRESENCE_ENDED_MAX);
  });
});
