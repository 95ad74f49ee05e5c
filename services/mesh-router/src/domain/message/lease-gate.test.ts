import { createManualClock, KiB, type ManualClock, MiB } from "@nexus/shared";
import { beforeEach, describe, expect, it } from "vitest";
import { HELD_BYTES_MAX, PENDING_PER_SENDER_MAX } from "../limits.ts";
import { fakeSession } from "../session/session.fake.ts";
import type { Session } from "../session/session.ts";
import { type LeaseAnswer, type LeaseClaim, LeaseGate } from "./lease-gate.ts";
import { fakeLetter } from "./letter.fake.ts";
import type { Letter } from "./letter.ts";
import { whyRefused } from "./message-rules.ts";

const VALID = { valid: true, reason: "", cacheForMs: 0 };
const LOST = { valid: false, reason: "LEASE_LOST", cacheForMs: 0 };
const ALL = { toAgentId: "", target: { kind: "all", name: "*" } } as const;

interface Asked {
  readonly claim: LeaseClaim;
  readonly answer: (answer: LeaseAnswer) => void;
  readonly fail: () => void;
}

let clock: ManualClock;
let passed: Letter[];
let refused: string[];
let asked: Asked[];
let gate: LeaseGate;
let alice: Session;

beforeEach(() => {
  clock = createManualClock();
  passed = [];
  refused = [];
  asked = [];
  gate = new LeaseGate({
    leases: {
      check: (claim) =>
        new Promise((answer, reject) => {
          asked.push({ claim, answer, fail: () => reject(new Error("nobody answers")) });
        }),
    },
    clock,
    proceed: (_, letter) => void passed.push(letter),
    refuse: (_, { messageId }, { outcome }) => void refused.push(`${messageId} ${outcome}`),
  });
  alice = fakeSession("alice");
});

const under = (fence: bigint) => ({ lease: { taskId: "t1", fence } });

function send(messageId: string, more: Partial<Letter> = {}, sender = alice): void {
  gate.send(sender, fakeLetter(messageId, "bob", more));
}

/** Answers the check of a lease, and lets what follows from it happen. */
async function answer(fence: bigint, what: LeaseAnswer | "nothing"): Promise<void> {
  const at = asked.findIndex(({ claim }) => claim.fence === fence);
  const [check] = asked.splice(at, 1) as [Asked];
  if (what === "nothing") check.fail();
  else check.answer(what);
  await new Promise(setImmediate);
}

const ids = () => passed.map(({ messageId }) => messageId);

describe("the gate of leases", () => {
  it("keeps a pair's order while it asks, and holds nothing of its frame", async () => {
    const frame = new Uint8Array(64 * KiB);
    const view = frame.subarray(1, 20);
    const parts = { payload: view, subject: view, traceparent: view };
    send("m1", { ...parts, ...under(1n) });
    send("m2", parts);
    expect(passed).toEqual([]);
    await answer(1n, VALID);
    expect(ids()).toEqual(["m1", "m2"]);
    const views = passed.flatMap(({ payload, subject, traceparent }) => [
      ...[payload, subject, traceparent],
    ]);
    expect(views.filter(({ buffer }) => buffer === frame.buffer)).toEqual([]);
    expect(views).toEqual(Array(6).fill(view));
    expect(gate.held).toBe(0);
  });

  it("holds up no other pair, and no other class of message", async () => {
    send("held", under(1n));
    send("to carol", { toAgentId: "carol" });
    send("mail", { mail: { ttlMs: 1_000, ackWaitMs: 1_000 } });
    expect(ids()).toEqual(["to carol", "mail"]);
    send("carol, too", { toAgentId: "carol", ...under(2n) });
    await answer(2n, VALID);
    expect(ids()).toEqual(["to carol", "mail", "carol, too"]);
    await answer(1n, VALID);
    expect(ids().at(-1)).toBe("held");
  });

  it("keeps what goes to many behind all before it, and all behind it", async () => {
    send("m1", under(1n));
    send("c1", { toAgentId: "carol", ...under(2n) });
    send("all", ALL);
    send("m2");
    send("c2", { toAgentId: "carol" });
    send("all under a lease", { ...ALL, ...under(3n) });
    send("m3");
    await answer(2n, VALID);
    expect(ids()).toEqual(["c1"]);
    await answer(1n, VALID);
    expect(ids()).toEqual(["c1", "m1", "all", "m2", "c2"]);
    await answer(3n, VALID);
    expect(ids().slice(5)).toEqual(["all under a lease", "m3"]);
    expect(gate.held).toBe(0);
  });

  it("asks once for all that wait for a lease, and its failure answers them all", async () => {
    for (let i = 0; i < 20; i += 1) send(`m${i}`, { ...under(1n), toAgentId: `to${i % 3}` });
    send("free", { toAgentId: "to0" });
    expect(asked).toHaveLength(1);
    await answer(1n, "nothing");
    expect(refused).toHaveLength(20);
    expect(new Set(refused.map((one) => one.split(" ")[1]))).toEqual(new Set(["refused"]));
    expect(ids()).toEqual(["free"]);
    expect(asked).toHaveLength(0);
    send("later", under(1n));
    expect(asked).toHaveLength(1);
  });

  it("refuses what is under a lease that is lost, behind whatever it stands", async () => {
    send("m1", under(1n));
    send("m2", under(2n));
    send("m3");
    await answer(2n, LOST);
    expect(refused).toEqual(["m2 refused"]);
    await answer(1n, VALID);
    expect(ids()).toEqual(["m1", "m3"]);
  });

  it("keeps an answer as long as it says", async () => {
    send("m1", under(1n));
    await answer(1n, { ...VALID, cacheForMs: 500 });
    send("m2", under(1n));
    expect(ids()).toEqual(["m1", "m2"]);
    clock.advance(500);
    send("m3", under(1n));
    expect(asked).toHaveLength(1);
    await answer(1n, { ...LOST, cacheForMs: 500 });
    send("m4", under(1n));
    expect(refused).toEqual(["m3 refused", "m4 refused"]);
  });

  it("answers each in its time, whoever hangs, and takes what it waited off its time", async () => {
    send("short", { ...under(1n), timeoutMs: 100 });
    send("behind", { timeoutMs: 100 });
    send("long", { timeoutMs: 1_000 });
    clock.advance(110);
    gate.expire(clock.nowMs());
    expect(refused).toEqual(["short expired", "behind expired"]);
    expect(passed).toMatchObject([{ messageId: "long", timeoutMs: 890 }]);
    await answer(1n, VALID);
    expect(refused).toHaveLength(2);
    expect(gate.held).toBe(0);
  });

  it("lets its sender take one back, which is pending until then", async () => {
    send("m1", under(1n));
    send("m2");
    expect(whyRefused(alice, fakeLetter("m1", "bob"))).toMatchObject({
      reason: "MESSAGE_ID_PENDING",
    });
    const held = alice.unsettled.get("m1");
    if (held?.kind === "held") held.cancel();
    expect(refused).toEqual(["m1 cancelled"]);
    expect(ids()).toEqual(["m2"]);
    expect(alice.unsettled.size).toBe(0);
    await answer(1n, VALID);
    expect(ids()).toEqual(["m2"]);
  });

  it("lets go of all that a sender had there when it ends", async () => {
    send("m1", under(1n));
    send("m2");
    send("all", ALL);
    send("m3");
    gate.ended(alice);
    expect(refused).toHaveLength(4);
    expect(gate.held).toBe(0);
    await answer(1n, VALID);
    expect(passed).toEqual([]);
  });

  it("takes no more than a sender may have without an outcome", () => {
    for (let i = 0; i <= PENDING_PER_SENDER_MAX; i += 1) send(`m${i}`, under(1n));
    expect(refused).toEqual([`m${PENDING_PER_SENDER_MAX} overloaded`]);
  });

  it("holds as many bytes of a namespace as it leaves free, and has room again for what follows", async () => {
    const payload = new Uint8Array(MiB);
    const fits = Math.floor((HELD_BYTES_MAX / (MiB + 128) + 1) / 2);
    const senders = Array.from({ length: fits + 1 }, (_, at) => fakeSession(`s${at}`));
    for (const [at, sender] of senders.entries()) send(`m${at}`, { payload, ...under(1n) }, sender);
    expect(refused).toEqual([`m${fits} overloaded`]);
    send("other", { payload, ...under(1n) }, fakeSession("x", { namespace: "other" }));
    expect(gate.held).toBe(fits + 1);
    for (let i = 0; i < 3; i += 1) await answer(1n, VALID);
    send("late", { payload, ...under(1n) }, fakeSession("late"));
    expect(refused).toHaveLength(1);
  });
});
