import { describe, expect, it } from "vitest";
import { fakeSession } from "../session/session.fake.ts";
import { SubscriptionDesk, type SubscriptionStore } from "./subscription-desk.ts";
import { TopicBook } from "./topic-book.ts";

function scene() {
  const topics = new TopicBook();
  /** Commits the next change. */
  let commit: () => void = () => undefined;
  const store: SubscriptionStore = {
    change: () =>
      new Promise((resolve) => {
        commit = resolve;
      }),
    load: async () => [],
    loadAll: async () => [],
  };
  const session = fakeSession("bob");
  const desk = new SubscriptionDesk(topics, store);
  const settled = async () => {
    commit();
    await new Promise(setImmediate);
  };
  return { topics, session, desk, settled, own: () => topics.of("default", "bob") };
}

const KEPT = { pattern: "a.>", group: "", durable: true };
const NOT_KEPT = { ...KEPT, durable: false };

describe("SubscriptionDesk", () => {
  it("leaves nothing of a session that ends while its change is stored", async () => {
    const { session, desk, settled, own } = scene();
    desk.subscribe(session, KEPT);
    await settled();
    expect(own()).toMatchObject([KEPT]);
    desk.subscribe(session, NOT_KEPT);
    session.state = "closed";
    desk.sessionChanged(session);
    await settled();
    expect(own()).toEqual([]);
  });

  it("keeps what is durable beyond a session that ends while it is stored", async () => {
    const { session, desk, settled, own } = scene();
    desk.subscribe(session, KEPT);
    session.state = "closed";
    desk.sessionChanged(session);
    await settled();
    expect(own()).toMatchObject([KEPT]);
  });
});
