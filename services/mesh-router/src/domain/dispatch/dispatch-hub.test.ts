import { beforeEach, describe, expect, it } from "vitest";
import { SLOT_TURN_STEPS_MAX } from "../limits.ts";
import type { UpdateKind } from "../message/carried.ts";
import { fakeSession } from "../session/session.fake.ts";
import { Session } from "../session/session.ts";
import { SessionDirectory } from "../session/session-directory.ts";
import { DispatchHub } from "./dispatch-hub.ts";
import type { DispatchLink } from "./dispatch-link.ts";

/** One hub, one agent, and orchestrators that remember what they were told. */
class World {
  slotNews = 0;
  readonly directory = new SessionDirectory();
  readonly hub = new DispatchHub({
    directory: this.directory,
    events: {
      orchestratorAttached: () => undefined,
      orchestratorDetached: () => undefined,
      assignmentRefused: () => undefined,
      updateDropped: () => undefined,
    },
    onTally: () => undefined,
    onSlotNews: () => {
      this.slotNews += 1;
    },
  });
  readonly session = fakeSession("a");

  constructor() {
    this.directory.add(this.session);
  }

  attach(name: string): Orchestrator {
    const stream = { wake: () => undefined, fail: () => undefined };
    const orchestrator = new Orchestrator(this, this.hub.attach(name, stream));
    orchestrator.read();
    return orchestrator;
  }

  update(taskId: string, kind: UpdateKind): void {
    this.hub.publish(this.session, { taskId, fence: 1n, kind, bytes: new Uint8Array(1) });
  }
}

class Orchestrator {
  readonly world: World;
  readonly link: DispatchLink;
  slots = -1;
  statuses = 0;
  readonly updates: string[] = [];
  readonly refusals: string[] = [];

  constructor(world: World, link: DispatchLink) {
    this.world = world;
    this.link = link;
  }

  /** Takes everything that waits; returns the number of slots that was said last. */
  read(): number {
    for (let frame = this.link.take(); frame !== undefined; frame = this.link.take()) {
      for (const { slots } of frame.sessions) {
        this.slots = slots;
        this.statuses += 1;
      }
      this.updates.push(...frame.updates.map(({ update }) => `${update.taskId} ${update.kind}`));
      this.refusals.push(...frame.refusals.map(({ taskId, reason }) => `${taskId} ${reason}`));
    }
    return this.slots;
  }

  assign(taskId: string, fence = 1n, slots = 1): void {
    const assignment = { taskId, fence, slots, bytes: new Uint8Array(1) };
    this.world.hub.assign(this.link, { to: this.world.session, assignment }, 0);
  }

  want(wanted: boolean, held = 0): void {
    this.world.hub.demand(this.link, this.world.session, { wanted, held });
  }

  leave(): void {
    this.world.hub.detach(this.link);
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});

describe("assignments that agents do not read", () => {
  const MIB = 1_048_576;

  function addAgent(namespace: string, agentId: string): Session {
    const name = { namespace, agentId, epoch: 1n, sessionId: `ses_${namespace}_${agentId}` };
    const added = new Session({ ...name, resumeHash: new Uint8Array(), slots: 20, nowMs: 0 });
    added.state = "connected";
    world.directory.add(added);
    return added;
  }

  it("take half of the memory at most that they may take in all, and leave other namespaces theirs", () => {
    const orchestrator = world.attach("1");
    let tasks = 0;
    const give = (to: Session, mib: number): void => {
      for (let i = 0; i < mib; i += 1) {
        tasks += 1;
        const assignment = { taskId: `t${tasks}`, fence: 1n, slots: 1, bytes: new Uint8Array(MIB) };
        world.hub.assign(orchestrator.link, { to, assignment }, 0);
      }
    };
    const unread = Array.from({ length: 10 }, (_, i) => addAgent("default", `unread-${i}`));
    for (const agent of unread) give(agent, 15);
    const held = (): number =>
      unread.reduce((sum, { outbox }) => sum + outbox.assignmentBytes, 0) / MIB;
    // Each is given one: an agent for which nothing waits is none that does not read.
    expect(held()).toBeGreaterThan(64);
    expect(held()).toBeLessThan(64 + unread.length);
    orchestrator.read();
    expect(orchestrator.refusals.length).toBe(tasks - Math.floor(held()));
    expect(new Set(orchestrator.refusals.map((word) => word.split(" ")[1]))).toEqual(
      new Set(["SESSION_TOO_SLOW"]),
    );
    const other = addAgent("other", "a");
    give(other, 10);
    expect(other.outbox.assignmentBytes).toBeGreaterThan(10 * MIB);
    const [first, last] = [unread[0] as Session, unread.at(-1) as Session];
    while (first.outbox.take() !== undefined);
    give(last, 2);
    expect(last.outbox.assignmentBytes).toBeGreaterThan(2 * MIB);
  });
});

describe("a stream of an orchestrator that has one already", () => {
  it("takes its place: nothing is said to the earlier one any more, and it holds no share", () => {
    world.session.slots = 4;
    const [silent, other] = [world.attach("1"), world.attach("2")];
    silent.want(true);
    other.want(true);
    silent.assign("task");
    expect(other.read()).toBe(2);
    const back = world.attach("1");
    expect(silent.link.over).toBe(true);
    expect(world.hub.links).toBe(2);
    world.hub.slots.tell();
    expect(other.read()).toBe(3);
    world.update("task", "progress");
    silent.read();
    expect(silent.updates).toEqual([]);
    back.read();
    expect(back.updates).toEqual(["task progress"]);
  });
});

describe("updates of a task", () => {
  it("go to the stream that assigned it, in order, and repeats to all", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.assign("t");
    for (const kind of ["accepted", "progress", "completed", "completed"] as const) {
      world.update("t", kind);
    }
    one.read();
    two.read();
    expect(one.updates).toEqual(["t accepted", "t progress", "t completed", "t completed"]);
    expect(two.updates).toEqual(["t completed"]);
  });

  it("go to all once the stream that assigned it is gone, or about to be", () => {
    const [one, two, three] = [world.attach("1"), world.attach("2"), world.attach("3")];
    one.assign("t");
    one.link.close();
    world.update("t", "accepted");
    one.leave();
    world.update("t", "completed");
    for (const other of [two, three]) {
      other.read();
      expect(other.updates).toEqual(["t accepted", "t completed"]);
    }
  });
});

describe("an assignment of a lease in hand", () => {
  it("makes its sender the one that hears of it, whose slot it is, and reaches the agent again", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.assign("t");
    world.update("t", "accepted");
    world.session.outbox.take();
    two.assign("t");
    expect(world.session.outbox.take()?.assignments).toHaveLength(1);
    world.update("t", "progress");
    world.update("t", "completed");
    one.read();
    expect([two.read(), two.updates, two.refusals]).toEqual([1, ["t progress", "t completed"], []]);
    expect(one.updates).toEqual(["t accepted"]);
    expect(world.session.tasks.busy).toBe(0);
  });

  it("is not refused by a session that takes nothing new, but by one that does not have it", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.assign("t");
    world.update("t", "accepted");
    world.session.outbox.take();
    for (const state of ["draining", "detached"] as const) {
      world.session.state = state;
      two.assign("t");
      two.assign("other");
    }
    two.read();
    expect(two.refusals).toEqual(["other DRAINING", "other DETACHED"]);
    expect(world.session.outbox.take()?.assignments).toHaveLength(1);
    expect([world.session.tasks.heldBy(one.link), world.session.tasks.heldBy(two.link)]).toEqual([
      0, 1,
    ]);
  });
});

describe("slots of a session", () => {
  it("are all told to a single orchestrator, whatever is in hand", () => {
    world.session.slots = 4;
    const one = world.attach("1");
    for (const taskId of ["a", "b", "c", "d", "e"]) one.assign(taskId);
    expect([one.read(), one.statuses, one.refusals]).toEqual([4, 1, []]);
  });

  it("are told as what one has and what is free, late to those that want no more", () => {
    world.session.slots = 4;
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.assign("a");
    one.assign("b");
    expect([one.read(), two.read()]).toEqual([4, 4]);
    const before = world.slotNews;
    world.update("b", "completed");
    expect(world.slotNews).toBe(before + 1);
    world.hub.slots.tell();
    expect([one.read(), two.read()]).toEqual([4, 3]);
    one.assign("c");
    world.update("c", "completed");
    world.hub.slots.tell();
    two.read();
    expect([one.statuses, two.statuses]).toEqual([1, 2]);
  });

  it("are counted by what each task takes", () => {
    world.session.slots = 4;
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.assign("wide", 1n, 3);
    world.hub.slots.tell();
    expect([one.read(), two.read()]).toEqual([4, 1]);
    two.assign("wide2", 1n, 2);
    two.read();
    expect(two.refusals).toEqual(["wide2 NO_SLOT"]);
    two.assign("narrow");
    two.read();
    expect(two.refusals).toHaveLength(1);
    expect(world.session.tasks.heldBy(one.link)).toBe(3);
    world.update("wide", "completed");
    world.hub.slots.tell();
    expect([one.read(), two.read()]).toEqual([3, 4]);
  });

  it("are refused with NO_SLOT beyond what the agent takes, with the number that holds", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.assign("a");
    two.assign("b");
    expect([two.read(), two.refusals]).toEqual([0, ["b NO_SLOT"]]);
    // A new lease of a task in hand takes its place.
    one.assign("a", 2n);
    one.read();
    expect(one.refusals).toEqual([]);
  });

  it("go from one to the other when both want the only one", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.want(true);
    two.want(true);
    const served: string[] = [];
    for (let i = 0; i < 6; i += 1) {
      const told = [one.read(), two.read()];
      expect(Math.abs((told[0] ?? 0) - (told[1] ?? 0))).toBe(1);
      const next = told[0] === 1 ? one : two;
      served.push(next.link.orchestratorId);
      next.assign(`t${i}`);
      expect([one.read(), two.read()].filter((slots) => slots > 0)).toEqual([1]);
      world.update(`t${i}`, "completed");
    }
    expect(served).toEqual(["1", "2", "1", "2", "1", "2"]);
  });

  it("tell the loser of a turn before, or with, the end that frees its slot", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.want(true);
    two.want(true);
    one.assign("a");
    one.read();
    world.update("a", "completed");
    const frame = one.link.take();
    expect([frame?.updates.length, frame?.sessions[0]?.slots]).toEqual([1, 0]);
  });

  it("go to those that want more even when one that has its turn does not take it", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.want(true);
    two.want(true);
    expect([one.read(), two.read()]).toEqual([1, 0]);
    world.hub.slots.turn();
    expect([one.read(), two.read()]).toEqual([1, 0]);
    world.hub.slots.turn();
    expect([one.read(), two.read()]).toEqual([0, 1]);
  });

  it("are passed on ever more slowly while nobody takes them", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.want(true);
    two.want(true);
    one.read();
    const before = one.statuses;
    const steps = 10 * SLOT_TURN_STEPS_MAX;
    for (let i = 0; i < steps; i += 1) {
      world.hub.slots.turn();
      one.read();
    }
    // Turns at 2, 4, 8, 16 and then at every multiple of 32.
    expect(one.statuses - before).toBe(14);
  });

  it("are everyone's again when a demand is taken back or its stream ends", () => {
    world.session.slots = 4;
    const [one, two, three] = [world.attach("1"), world.attach("2"), world.attach("3")];
    one.want(true);
    two.want(true);
    world.hub.slots.tell();
    expect([one.read(), two.read(), three.read()]).toEqual([2, 2, 0]);
    two.want(false);
    world.hub.slots.tell();
    expect([one.read(), two.read(), three.read()]).toEqual([4, 4, 4]);
    two.want(true);
    one.leave();
    world.hub.slots.tell();
    expect([two.read(), three.read()]).toEqual([4, 4]);
    three.assign("t");
    three.leave();
    world.hub.slots.tell();
    expect(two.read()).toBe(4);
  });

  it("are shared anew when the agent grants another number", () => {
    world.session.slots = 4;
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.want(true);
    two.want(true);
    expect([one.read(), two.read()]).toEqual([2, 2]);
    world.session.slots = 7;
    world.hub.sessionChanged(world.session);
    expect([one.read(), two.read()]).toEqual([4, 3]);
  });

  it("taken by a stream that is gone count against all, until one says that they are its own", () => {
    world.session.slots = 2;
    const [gone, one, two] = [world.attach("0"), world.attach("1"), world.attach("2")];
    gone.assign("long");
    gone.leave();
    world.hub.slots.tell();
    expect([one.read(), two.read()]).toEqual([1, 1]);
    one.want(true, 1);
    world.hub.slots.tell();
    expect([one.read(), two.read()]).toEqual([2, 1]);
    world.update("long", "completed");
    world.hub.slots.tell();
    expect([one.read(), two.read()]).toEqual([2, 2]);
  });

  it("of an agent that left are no longer wanted, and nobody hears of them", () => {
    const [one, two] = [world.attach("1"), world.attach("2")];
    one.want(true);
    two.want(true);
    one.read();
    two.read();
    world.session.state = "closed";
    world.hub.sessionChanged(world.session);
    one.read();
    two.read();
    const before = [one.statuses, two.statuses];
    two.want(true);
    for (let i = 0; i < 2 * SLOT_TURN_STEPS_MAX; i += 1) world.hub.slots.turn();
    world.hub.slots.tell();
    one.read();
    two.read();
    expect([one.statuses, two.statuses]).toEqual(before);
  });
});
