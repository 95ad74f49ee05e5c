/** Who publishes faster than its receivers take. */
import { beforeEach, describe, expect, it } from "vitest";
import { MESSAGE_QUEUE_MAX, PENDING_PER_SENDER_MAX, PUBLISH_WAIT_MS } from "../limits.ts";
import type { Session } from "../session/session.ts";
import type { Letter, SendResult } from "./letter.ts";
import { MessageRig, type RigReplica } from "./message-rig.fake.ts";

const TOPIC: Partial<Letter> = { target: { kind: "topic", name: "t" }, timeoutMs: 600_000 };
/** Less than a queue holds. */
const WINDOW = 900;
const FAR_LONGER = 10 * PUBLISH_WAIT_MS;

let rig: MessageRig;
let here: RigReplica;
let publisher: Session;

beforeEach(() => {
  rig = new MessageRig();
  [here] = rig.replicas as [RigReplica];
  publisher = here.agent("publisher");
});

function subscriber(agentId: string, credit: number, replica = here): Session {
  const session = replica.agent(agentId, credit);
  for (const { topics } of rig.replicas) {
    topics.add("default", { agentId, pattern: "t", group: "", durable: false });
  }
  return session;
}

function publish(messageId: string, more: Partial<Letter> = {}): void {
  here.send(publisher, messageId, "", { ...TOPIC, ...more });
}

/** What the publisher's stream brings. */
function told(): SendResult[] {
  const all: SendResult[] = [];
  for (let some = here.read(publisher).outcomes; some.length > 0; ) {
    all.push(...some);
    some = here.read(publisher).outcomes;
  }
  return all;
}

/** Takes in what a receiver's stream brings, and grants as much again. */
function takeIn(session: Session, max: number): void {
  for (let left = max; left > 0; ) {
    const { length } = here.take(session);
    if (length === 0) return;
    here.engine.grant(session, length);
    left -= length;
  }
}

describe("the outcome of a message to many", () => {
  it("comes at once where all copies go straight on", () => {
    subscriber("a", 1);
    subscriber("b", 1);
    publish("m");
    expect(told()).toMatchObject([{ outcome: "queued", receivers: 2, missed: 0 }]);
  });

  it("comes when the last copy is on its way", () => {
    const [a, b] = [subscriber("a", 0), subscriber("b", 0)];
    publish("m");
    here.engine.grant(a, 1);
    expect(told()).toEqual([]);
    here.engine.grant(b, 1);
    expect(told()).toMatchObject([{ messageId: "m", outcome: "queued", receivers: 2, missed: 0 }]);
    rig.pass(FAR_LONGER);
    expect(told()).toEqual([]);
  });

  it("comes when a receiver that it waits for is gone", () => {
    const a = subscriber("a", 0);
    publish("m");
    here.leave(a);
    expect(told()).toMatchObject([{ outcome: "queued" }]);
  });

  it("comes when its sender takes the message back, whose copies go on", () => {
    const a = subscriber("a", 0);
    publish("m");
    here.engine.cancel(publisher, "m");
    expect(told()).toMatchObject([{ outcome: "queued" }]);
    here.engine.grant(a, 1);
    expect(here.take(a)).toHaveLength(1);
    expect(told()).toEqual([]);
  });

  it("comes within its timeout", () => {
    subscriber("a", 0);
    publish("m", { timeoutMs: PUBLISH_WAIT_MS / 4 });
    rig.pass(PUBLISH_WAIT_MS / 2);
    expect(told()).toMatchObject([{ outcome: "queued", receivers: 1 }]);
  });

  it("does not wait for receivers at other replicas", () => {
    rig = new MessageRig(["a", "b"]);
    [here] = rig.replicas as [RigReplica];
    publisher = here.agent("publisher");
    subscriber("far", 0, rig.replicas[1]);
    publish("m");
    expect(told()).toMatchObject([{ outcome: "queued", receivers: 1 }]);
  });

  it("is to come: until then the id is taken, and it counts for its sender", () => {
    const a = subscriber("a", 0);
    publish("m");
    publish("m");
    expect(told()).toMatchObject([{ outcome: "refused", reason: "MESSAGE_ID_PENDING" }]);
    const other = here.agent("other");
    for (let i = 1; i < PENDING_PER_SENDER_MAX; i += 1) {
      here.send(publisher, `to-${i}`, "other");
      here.read(other);
    }
    expect(told()).toEqual([]);
    publish("one too many");
    expect(told()).toMatchObject([{ messageId: "one too many", outcome: "overloaded" }]);
    here.engine.grant(a, 1);
    expect(told()).toMatchObject([{ messageId: "m", outcome: "queued" }]);
    here.leave(other);
  });
});

describe("a slow receiver", () => {
  it("holds its publisher up for a moment", () => {
    subscriber("slow", 0);
    publish("m");
    rig.pass(PUBLISH_WAIT_MS - 20);
    expect(told()).toEqual([]);
    rig.pass(20);
    expect(told()).toMatchObject([{ outcome: "queued", receivers: 1 }]);
  });

  it("holds nobody up while what waits for it is older than that", () => {
    const slow = subscriber("slow", 0);
    publish("first");
    rig.pass(PUBLISH_WAIT_MS);
    told();
    for (let i = 0; i < 3; i += 1) {
      publish(`m${i}`);
      expect(told()).toMatchObject([{ messageId: `m${i}`, outcome: "queued" }]);
      rig.pass(PUBLISH_WAIT_MS);
      here.engine.grant(slow, 1);
      here.take(slow);
    }
  });

  it("keeps nothing from the others meanwhile", () => {
    subscriber("slow", 0);
    const fast = subscriber("fast", 10);
    publish("m");
    expect(here.take(fast)).toHaveLength(1);
  });

  it("is missed once its queue is full, and holds nobody up then", () => {
    subscriber("slow", 0);
    subscriber("fast", 10_000);
    for (let i = 0; i < MESSAGE_QUEUE_MAX; i += 1) publish(`m${i}`);
    rig.pass(PUBLISH_WAIT_MS);
    told();
    publish("more");
    expect(told()).toMatchObject([{ messageId: "more", receivers: 1, missed: 1 }]);
  });
});

describe("a publisher that is faster than its receivers", () => {
  it("is slowed down by the slowest that keeps up, and none of them misses anything", () => {
    const receivers = [subscriber("a", 100), subscriber("b", 100), subscriber("c", 100)];
    let [sent, underWay, missed] = [0, 0, 0];
    for (let turn = 0; turn < 200; turn += 1) {
      for (; underWay < WINDOW; underWay += 1) publish(`m${sent++}`);
      // The last one takes a third of what the first one would.
      for (const [at, receiver] of receivers.entries()) takeIn(receiver, 300 - 100 * at);
      for (const outcome of told()) {
        underWay -= 1;
        missed += outcome.missed ?? 0;
      }
      rig.pass(1);
    }
    expect(missed).toBe(0);
    expect(sent).toBeGreaterThan(100 * 200);
  });
});
