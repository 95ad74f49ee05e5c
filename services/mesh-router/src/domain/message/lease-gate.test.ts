import { KiB, MiB } from "@nexus/shared";
import { beforeEach, describe, expect, it } from "vitest";
import { HELD_BYTES_MAX } from "../limits.ts";
import { Session } from "../session/session.ts";
import { type LeaseAnswer, LeaseGate } from "./lease-gate.ts";
import type { Letter } from "./letter.ts";

const NOTHING = new Uint8Array();
const LETTER: Letter = {
  messageId: "",
  toAgentId: "bob",
  payload: NOTHING,
  subject: NOTHING,
  expectsReply: false,
  inReplyTo: "",
  timeoutMs: 1_000,
  traceparent: NOTHING,
};
const lease = { taskId: "t1", fence: 1n };
const VALID = { valid: true, reason: "", cacheForMs: 0 };

let passed: Letter[];
let refused: string[];
let asked: ((answer: LeaseAnswer) => void)[];
let gate: LeaseGate;

beforeEach(() => {
  passed = [];
  refused = [];
  asked = [];
  gate = new LeaseGate({
    leases: { check: () => new Promise((resolve) => asked.push(resolve)) },
    clock: { nowMs: () => 0 },
    proceed: (_, letter) => passed.push(letter),
    refuse: (_, { messageId }, { outcome }) => refused.push(`${messageId} ${outcome}`),
  });
});

function newSender(agentId: string): Session {
  return new Session({
    ...{ namespace: "default", agentId, epoch: 1n, sessionId: `ses_${agentId}` },
    ...{ resumeHash: NOTHING, slots: 1, nowMs: 0 },
  });
}

/** Answers the check that waits, and lets what follows from it happen. */
async function answer(): Promise<void> {
  asked.shift()?.(VALID);
  await new Promise(setImmediate);
}

describe("the gate of leases", () => {
  it("keeps a sender's order while it asks, and holds nothing of their frame", async () => {
    const alice = newSender("alice");
    const frame = new Uint8Array(64 * KiB);
    const view = frame.subarray(1, 20);
    const parts = { payload: view, subject: view, traceparent: view };
    gate.send(alice, { ...LETTER, ...parts, messageId: "m1", lease });
    gate.send(alice, { ...LETTER, ...parts, messageId: "m2" });
    expect(passed).toEqual([]);
    await answer();
    expect(passed.map(({ messageId }) => messageId)).toEqual(["m1", "m2"]);
    const views = passed.flatMap(({ payload, subject, traceparent }) => [
      ...[payload, subject, traceparent],
    ]);
    expect(views.filter(({ buffer }) => buffer === frame.buffer)).toEqual([]);
    expect(views).toEqual(Array(6).fill(view));
  });

  it("holds so many bytes of all senders, and has room again for what follows", async () => {
    const payload = new Uint8Array(MiB);
    const fits = Math.floor(HELD_BYTES_MAX / (MiB + 128));
    const senders = Array.from({ length: fits + 1 }, (_, at) => newSender(`s${at}`));
    for (const [at, sender] of senders.entries()) {
      gate.send(sender, { ...LETTER, payload, messageId: `m${at}`, lease });
    }
    expect(asked).toHaveLength(fits);
    expect(refused).toEqual([`m${fits} overloaded`]);
    await answer();
    gate.send(newSender("late"), { ...LETTER, payload, messageId: "late", lease });
    expect(refused).toHaveLength(1);
    expect(asked).toHaveLength(fits);
  });
});
