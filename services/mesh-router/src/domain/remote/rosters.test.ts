import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Message } from "../message/message.ts";
import { fakeSession } from "../session/session.fake.ts";
import type { Session } from "../session/session.ts";
import { TopicBook } from "../topic/topic-book.ts";
import type { Roster } from "./remote-ports.ts";
import { RosterBook } from "./roster-book.ts";
import { RosterJournal } from "./roster-journal.ts";

const NS = "default";

function session(agentId: string, epoch: bigint, state: Session["state"] = "connected"): Session {
  const made = fakeSession(agentId, { epoch });
  made.state = state;
  return made;
}

function setUp() {
  const topics = new TopicBook();
  const claims: string[] = [];
  const sent: string[] = [];
  const book = new RosterBook({
    topics,
    link: { isConnected: true, send: (to, item) => sent.push(`${to} ${item.kind}`) > 0 },
    onSession: ({ agentId, peer }) => claims.push(`${agentId}@${peer.replicaId}`),
  });
  const at = (agentId: string) => book.find(NS, agentId)?.peer.replicaId;
  const says = (sequence: number, ...agents: (string | [string, bigint, boolean?])[]): Roster => ({
    sequence,
    changes: agents.map((one) => {
      const [agentId, epoch, gone = false] = typeof one === "string" ? [one, 1n] : one;
      const name = { kind: "session", namespace: NS, agentId, epoch, attached: true } as const;
      return { entry: name, gone };
    }),
  });
  const whole = (replicaId: string, roster: Roster) => {
    book.joined(replicaId);
    book.toldAll(replicaId, roster);
  };
  return { book, topics, claims, sent, at, says, whole };
}

describe("RosterBook", () => {
  it("knows nobody of a replica before its whole roster came, and then what followed it", () => {
    const { book, at, says } = setUp();
    book.joined("b");
    book.told("b", says(4, "late"));
    book.told("b", says(5, "later"));
    expect([at("late"), book.unknown]).toEqual([undefined, ["b"]]);
    book.toldAll("b", says(4, "early"));
    expect([at("early"), at("later"), at("late")]).toEqual(["b", "b", undefined]);
    expect(book.unknown).toEqual([]);
  });

  it("doubts a replica whose news have a gap, and keeps what it knows meanwhile", () => {
    const { book, at, says, whole } = setUp();
    whole("b", says(1, "one"));
    book.told("b", says(3, "three"));
    expect([book.unknown, at("one"), at("three")]).toEqual([["b"], "b", undefined]);
    book.toldAll("b", says(3, "three"));
    expect([at("one"), at("three")]).toEqual([undefined, "b"]);
  });

  it("keeps what an agent has in hand when its stream or session changes, and its session's pause", () => {
    const { book, says, whole } = setUp();
    whole("b", says(1, "x"));
    const before = book.find(NS, "x");
    before?.pause(500);
    before?.delivered.set("d", {} as Message);
    const away = { kind: "session", namespace: NS, agentId: "x", epoch: 1n } as const;
    book.told("b", {
      sequence: 2,
      changes: [{ entry: { ...away, attached: false }, gone: false }],
    });
    const detached = book.find(NS, "x");
    expect([detached?.attached, detached?.pauseMs(0), detached?.waiting]).toEqual([false, 500, 2]);
    // A word about what was sent before is one about the agent.
    before?.pause(900);
    before?.delivered.delete("d");
    expect([detached?.pauseMs(0), detached?.waiting]).toEqual([900, 1]);
    detached?.delivered.set("e", {} as Message);
    book.told("b", says(3, ["x", 2n]));
    const anew = book.find(NS, "x");
    expect([anew?.epoch, anew?.pauseMs(0), anew?.waiting]).toEqual([2n, 0, 2]);
  });

  it("takes old and repeated news for nothing", () => {
    const { book, at, says, whole } = setUp();
    whole("b", says(5, "one"));
    book.told("b", says(5, ["one", 1n, true]));
    book.toldAll("b", says(4));
    expect(at("one")).toBe("b");
  });

  it("believes of two claims the newest epoch, whichever comes last", () => {
    const { book, at, says, whole } = setUp();
    whole("b", says(1, ["agent", 2n]));
    whole("c", says(1, ["agent", 1n]));
    expect(at("agent")).toBe("b");
    book.told("b", says(2, ["agent", 2n, true]));
    expect(at("agent")).toBe("c");
    book.lost("c");
    expect([at("agent"), book.size]).toEqual([undefined, 0]);
  });

  it("forgets with a replica its subscriptions and watches, and what it had in hand is returned", () => {
    const { book, topics, sent, whole } = setUp();
    const subscription = { namespace: NS, agentId: "a", pattern: "t.*", group: "" };
    whole("b", {
      sequence: 1,
      changes: [
        { entry: { kind: "subscription", ...subscription }, gone: false },
        { entry: { kind: "watch", namespace: NS, pattern: "t.>" }, gone: false },
        { entry: { kind: "watch", namespace: NS, pattern: "t.x" }, gone: false },
      ],
    });
    const { subscriptions, farEars } = topics.match(NS, "t.x");
    expect([subscriptions.length, farEars.length]).toEqual([1, 1]);
    const empty = new Uint8Array();
    farEars[0]?.({ topic: "t.x", from: "z", subject: empty, payload: empty, acceptedAtMs: 0 });
    expect(sent).toEqual(["b publication"]);
    expect(book.lost("b")?.replicaId).toBe("b");
    expect(topics.match(NS, "t.x")).toEqual({ subscriptions: [], ears: [], farEars: [] });
    expect(topics.of(NS, "a")).toEqual([]);
  });
});

describe("a roster told by one replica and believed by another", () => {
  type Step = readonly [agent: number, epoch: number, what: "attached" | "detached" | "over"];
  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.nat(3),
    fc.integer({ min: 1, max: 3 }),
    fc.constantFrom("attached", "detached", "over"),
  );

  it("converges whatever is lost, once the whole one came", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 40 }), (steps) => {
        const { book, at } = setUp();
        const journal = new RosterJournal(() => undefined);
        book.joined("b");
        book.toldAll("b", journal.whole());
        for (const [[agent, epoch, what], isLost] of steps) {
          const state = { attached: "connected", detached: "detached", over: "lost" } as const;
          journal.sessionChanged(session(`a${agent}`, BigInt(epoch), state[what]));
          const news = journal.takeNews();
          if (news !== undefined && !isLost) book.told("b", news);
        }
        book.doubt("b");
        book.toldAll("b", journal.whole());
        const truth = journal.whole().changes.map(({ entry }) => entry);
        for (let agent = 0; agent <= 3; agent += 1) {
          const there = truth.find((one) => one.kind === "session" && one.agentId === `a${agent}`);
          expect(at(`a${agent}`)).toBe(there === undefined ? undefined : "b");
          if (there?.kind !== "session") continue;
          expect(book.find(NS, `a${agent}`)).toMatchObject({
            epoch: there.epoch,
            attached: there.attached,
          });
        }
      }),
    );
  });

  it("says only what differs from what was said", () => {
    const journal = new RosterJournal(() => undefined);
    journal.sessionChanged(session("a", 1n));
    journal.sessionChanged(session("a", 1n));
    expect(journal.takeNews()).toMatchObject({ sequence: 1, changes: [{ gone: false }] });
    journal.sessionChanged(session("a", 1n));
    expect(journal.takeNews()).toBeUndefined();
    journal.sessionChanged(session("a", 2n));
    journal.sessionChanged(session("a", 1n, "lost"));
    expect(journal.takeNews()).toMatchObject({ changes: [{ entry: { epoch: 2n }, gone: false }] });
    expect(journal.whole().changes).toHaveLength(1);
  });
});
