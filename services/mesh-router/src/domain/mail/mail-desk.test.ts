import { beforeEach, describe, expect, it } from "vitest";
import { FakeMailStore } from "../../store/mail-store.fake.ts";
import type { MailDelivery } from "./mail.ts";
import { ACK_WAIT_MS, ATTEMPTS_MAX, MailRig, REDELIVERY_MS } from "./mail-rig.fake.ts";

let rig: MailRig<FakeMailStore>;

beforeEach(() => {
  rig = new MailRig((nowMs) => new FakeMailStore(nowMs));
});

describe("the mail desk", () => {
  it("takes silence for a failure, unless the receiver extends its time", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    rig.post(alice, "m1", "bob");
    await rig.office.work();
    const [first] = rig.read(bob) as [MailDelivery];
    rig.clock.advance(ACK_WAIT_MS - 10);
    rig.say(bob, first, "extend");
    rig.clock.advance(ACK_WAIT_MS - 10);
    rig.office.expire(rig.clock.nowMs());
    expect(rig.desk.unacknowledged).toBe(1);
    rig.clock.advance(20);
    rig.office.expire(rig.clock.nowMs());
    expect(rig.desk.unacknowledged).toBe(0);
    rig.clock.advance(REDELIVERY_MS + 10);
    rig.office.expire(rig.clock.nowMs());
    expect(rig.read(bob)).toMatchObject([{ attempt: 2, generation: 1 }]);
  });

  it("counts no silence of an agent without a stream", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    rig.post(alice, "m1", "bob");
    await rig.office.work();
    rig.read(bob);
    rig.detach(bob);
    rig.clock.advance(2 * ACK_WAIT_MS);
    rig.office.expire(rig.clock.nowMs());
    rig.attach(bob);
    await rig.office.work();
    expect(rig.read(bob)).toMatchObject([{ attempt: 1, generation: 0 }]);
  });

  it("gives up what nobody took in time", async () => {
    const alice = rig.agent("alice");
    const bob = rig.agent("bob");
    bob.credit = 0;
    rig.post(alice, "m1", "bob", { mail: { ttlMs: 1_000, ackWaitMs: ACK_WAIT_MS } });
    await rig.office.work();
    rig.clock.advance(1_001);
    rig.desk.giveUpExpired();
    await rig.office.work();
    expect([...rig.store.dead.values()]).toEqual(["EXPIRED"]);
  });

  it("has what it may not give up yet again, until it may", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    rig.post(alice, "m1", "bob");
    await rig.office.work();
    const [first] = rig.read(bob) as [MailDelivery];
    rig.store.isFenced = true;
    rig.say(bob, first, "reject");
    await rig.office.work();
    expect(rig.store.dead.size).toBe(0);
    await rig.office.work();
    const [again] = rig.read(bob) as [MailDelivery];
    expect(again).toMatchObject({ attempt: 1 });
    rig.store.isFenced = false;
    rig.say(bob, again, "reject");
    await rig.office.work();
    await rig.office.work();
    expect([...rig.store.dead.values()]).toEqual(["REJECTED"]);
    expect(rig.read(bob)).toEqual([]);
  });

  it("lets a rejected message go without holding up its lane", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    for (const id of ["m1", "m2"]) rig.post(alice, id, "bob");
    await rig.office.work();
    const [first, second] = rig.read(bob) as [MailDelivery, MailDelivery];
    rig.say(bob, first, "reject");
    rig.say(bob, second, "done");
    await rig.office.work();
    expect([...rig.store.dead.values()]).toEqual(["REJECTED"]);
    expect(rig.store.rows.size).toBe(0);
  });

  it("counts what a session had in hand that was replaced, and gives nothing up in its name", async () => {
    const [alice, bob] = [rig.agent("alice"), rig.agent("bob")];
    rig.post(alice, "m1", "bob");
    await rig.office.work();
    for (let failures = 1; failures < ATTEMPTS_MAX; failures += 1) {
      const [delivery] = rig.read(bob) as [MailDelivery];
      rig.say(bob, delivery, "retry");
      rig.clock.advance(REDELIVERY_MS * 2 ** failures);
      rig.office.expire(rig.clock.nowMs());
    }
    rig.read(bob);
    rig.desk.ended(bob, "replaced", rig.clock.nowMs());
    await rig.office.work();
    expect([...rig.store.rows.values()]).toMatchObject([{ failures: ATTEMPTS_MAX }]);
    expect(rig.store.dead.size).toBe(0);
  });

  it("gives up what has no attempt left, before it is delivered once more", async () => {
    const alice = rig.agent("alice");
    rig.post(alice, "m1", "bob");
    await rig.office.work();
    for (const [seq, row] of rig.store.rows) {
      rig.store.rows.set(seq, { ...row, failures: ATTEMPTS_MAX });
    }
    const bob = rig.agent("bob");
    await rig.office.work();
    expect(rig.read(bob)).toEqual([]);
    await rig.office.work();
    expect([...rig.store.dead.values()]).toEqual(["ATTEMPTS"]);
  });
});
