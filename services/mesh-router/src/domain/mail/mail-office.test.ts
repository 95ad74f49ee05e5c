import { KiB } from "@nexus/shared";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeMailStore } from "../../store/mail-store.fake.ts";
import { MAIL_POSTS_MAX } from "../limits.ts";
import type { MailDelivery } from "./mail.ts";
import { idOf, MailRig, outcomesOf } from "./mail-rig.fake.ts";

const newRig = (mailboxMax?: number) =>
  new MailRig((nowMs) => new FakeMailStore(nowMs), mailboxMax);
let rig: MailRig<FakeMailStore>;

beforeEach(() => {
  rig = newRig();
});

/** A first message of a sender to a receiver, whose commit happens and is not known to. */
async function postWithoutAnswer() {
  const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
  await rig.office.work();
  rig.store.losesAnswers = true;
  rig.post(alice, "m1", "bob");
  await expect(rig.office.work()).rejects.toThrow("lost");
  rig.store.losesAnswers = false;
  return [alice, bob] as const;
}

describe("the mail office", () => {
  it("answers after the commit, and delivers from memory once the sender's stream is known", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    rig.post(alice, "m1", "bob");
    expect(outcomesOf(alice)).toEqual([]);
    await rig.office.work();
    expect(outcomesOf(alice)).toMatchObject([{ outcome: "queued", position: 1 }]);
    expect(rig.read(bob).map(idOf)).toEqual(["m1"]);
    rig.post(alice, "m2", "bob");
    await rig.office.work();
    expect(outcomesOf(alice)).toMatchObject([{ position: 2 }]);
    expect(rig.read(bob).map(idOf)).toEqual(["m2"]);
  });

  it("keeps what could not be written, answers EXPIRED in time, and then stores what has time left", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    await rig.office.work();
    rig.store.away = true;
    rig.post(alice, "m1", "bob");
    rig.post(alice, "m2", "bob", { timeoutMs: 10_000 });
    await expect(rig.office.work()).rejects.toThrow("away");
    rig.clock.advance(1_100);
    rig.office.expire(rig.clock.nowMs());
    expect(outcomesOf(alice)).toMatchObject([{ messageId: "m1", outcome: "expired" }]);
    rig.store.away = false;
    await rig.office.work();
    expect(outcomesOf(alice)).toMatchObject([{ messageId: "m2", outcome: "queued" }]);
    expect(rig.read(bob).map(idOf)).toEqual(["m2"]);
  });

  it("stores once what was committed without an answer, and delivers it", async () => {
    const [alice, bob] = await postWithoutAnswer();
    await rig.office.work();
    expect(rig.store.rows.size).toBe(1);
    expect(outcomesOf(alice)).toMatchObject([{ outcome: "queued", duplicate: true }]);
    expect(rig.read(bob).map(idOf)).toEqual(["m1"]);
  });

  it("delivers what was committed without an answer and whose sender's time is over, before what follows", async () => {
    const [alice, bob] = await postWithoutAnswer();
    rig.clock.advance(1_100);
    rig.office.expire(rig.clock.nowMs());
    rig.post(alice, "m2", "bob");
    await rig.office.work();
    expect(outcomesOf(alice).map(({ outcome }) => outcome)).toEqual(["expired", "queued"]);
    expect(rig.read(bob).map(idOf)).toEqual(["m1", "m2"]);
  });

  it("stores few messages at once that go to many", async () => {
    const alice = rig.agent("alice");
    await rig.office.work();
    const names = Array.from({ length: 100 }, (_, at) => `many-${at}`);
    const rows: number[] = [];
    const commit = rig.store.commit.bind(rig.store);
    rig.store.commit = async (batch) => {
      rows.push(batch.inserts.reduce((sum, { mailboxIds }) => sum + mailboxIds.length, 0));
      return commit(batch);
    };
    // An envelope is the message's id here.
    for (const id of ["1", "2", "3"]) rig.post(alice, id.repeat(64 * KiB), names);
    await rig.office.work();
    expect(rows).toEqual([100, 100, 100]);
  });

  it("tells others of mail for an agent that is not here", async () => {
    const alice = rig.agent("alice");
    rig.post(alice, "m1", "elsewhere");
    await rig.office.work();
    expect(rig.store.notified).toHaveLength(1);
  });

  it("tells others of mail for an agent whose stream broke, and once more when its session is over here", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    await rig.office.work();
    rig.post(alice, "m1", "bob");
    await rig.office.work();
    expect(rig.store.notified).toHaveLength(0);
    rig.detach(bob);
    rig.post(alice, "m2", "bob");
    await rig.office.work();
    expect(rig.store.notified).toHaveLength(1);
    rig.desk.ended(bob, "replaced", rig.clock.nowMs());
    await rig.office.work();
    expect(rig.store.notified).toHaveLength(2);
  });

  it("tells others when a session ends while its mail is being stored, though the first try fails", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    await rig.office.work();
    rig.post(alice, "m1", "bob");
    const commit = rig.store.commit.bind(rig.store);
    rig.store.commit = async (batch) => {
      rig.store.commit = commit;
      rig.desk.ended(bob, "goodbye", rig.clock.nowMs());
      return commit(batch);
    };
    await rig.office.work();
    expect(rig.store.notified).toHaveLength(0);
    rig.store.away = true;
    await expect(rig.office.work()).rejects.toThrow("away");
    rig.store.away = false;
    await rig.office.work();
    expect(rig.store.notified).toHaveLength(1);
  });

  it("counts what waits, and refuses beyond the limit", async () => {
    rig = newRig(2);
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    for (const id of ["m1", "m2", "m3"]) rig.post(alice, id, "bob");
    await rig.office.work();
    expect(outcomesOf(alice).map(({ outcome }) => outcome)).toEqual([
      "overloaded",
      "queued",
      "queued",
    ]);
    rig.say(bob, rig.read(bob)[0] as MailDelivery, "done");
    rig.post(alice, "m4", "bob");
    await rig.office.work();
    expect(outcomesOf(alice)).toMatchObject([{ outcome: "queued" }]);
  });

  it("takes no room for one namespace's messages that another one needs", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob", "other")];
    rig.store.away = true;
    let taken = 0;
    for (; alice.outbox.items === 0; taken += 1) rig.post(alice, `m${taken}`, "carol");
    expect(taken - 1).toBe(MAIL_POSTS_MAX / 2);
    rig.post(bob, "m", "dan");
    expect(outcomesOf(bob)).toEqual([]);
    rig.store.away = false;
    await rig.office.work();
    expect(outcomesOf(bob)).toMatchObject([{ outcome: "queued" }]);
    outcomesOf(alice);
    rig.post(alice, "late", "carol");
    expect(outcomesOf(alice)).not.toContainEqual(expect.objectContaining({ messageId: "late" }));
  });
});
