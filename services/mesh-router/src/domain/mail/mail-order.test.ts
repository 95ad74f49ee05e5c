import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeMailStore } from "../../store/mail-store.fake.ts";
import type { Session } from "../session/session.ts";
import type { AckKind, MailDelivery } from "./mail.ts";
import { idOf, MailRig } from "./mail-rig.fake.ts";

type Rig = MailRig<FakeMailStore>;

/** A receiver as the SDK is: one message of a sender at a time, in the order of arrival, nothing of an older generation. */
class Receiver {
  readonly session: Session;
  readonly handled: string[] = [];
  readonly #rig: Rig;
  #waiting: MailDelivery[] = [];
  readonly #generations = new Map<string, number>();

  constructor(rig: Rig, session: Session) {
    this.#rig = rig;
    this.session = session;
  }

  take(): void {
    for (const delivery of this.#rig.read(this.session)) {
      const { sender } = delivery.mail;
      if (delivery.generation < (this.#generations.get(sender) ?? 0)) continue;
      this.#generations.set(sender, delivery.generation);
      this.#waiting = this.#waiting.filter(
        (one) => one.mail.sender !== sender || one.generation === delivery.generation,
      );
      this.#waiting.push(delivery);
    }
  }

  /** Handles the oldest delivery. */
  handle(kind: AckKind): void {
    const delivery = this.#waiting.shift();
    if (delivery === undefined) return;
    const { sender } = delivery.mail;
    if (kind === "done") this.handled.push(`${sender}/${idOf(delivery)}`);
    if (kind === "retry") {
      this.#waiting = this.#waiting.filter((one) => one.mail.sender !== sender);
      this.#generations.set(sender, delivery.generation + 1);
    }
    this.#rig.say(this.session, delivery, kind);
  }

  disconnect(): void {
    this.#waiting = [];
    this.#generations.clear();
    this.#rig.detach(this.session);
  }
}

type Step =
  | { readonly what: "post"; readonly sender: number }
  | { readonly what: "handle"; readonly kind: AckKind }
  | { readonly what: "work" | "take" | "reconnect" | "away" }
  | { readonly what: "wait"; readonly ms: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ what: fc.constant("post" as const), sender: fc.nat(2) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        what: fc.constant("handle" as const),
        kind: fc.constantFrom<AckKind>("done", "done", "done", "retry"),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ what: fc.constantFrom("work" as const, "take", "reconnect", "away") }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ what: fc.constant("wait" as const), ms: fc.constantFrom(50, 200) }),
    },
  ),
  { maxLength: 80 },
);

describe("order", () => {
  it("holds for each pair, and nothing is lost, whatever fails and disconnects", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        const rig = new MailRig((nowMs) => new FakeMailStore(nowMs));
        const senders = ["a", "b", "c"].map((agentId) => rig.agent(agentId));
        const receiver = new Receiver(rig, rig.agent("r"));
        const posted = new Map<string, number>();
        for (const step of plan) await play(step, { rig, senders, receiver, posted });
        await drain(rig, receiver);
        const dead = new Set([...rig.store.dead.keys()]);
        for (const [sender, count] of posted) {
          const own = receiver.handled.filter((one) => one.startsWith(`${sender}/`));
          const numbers = own.map((one) => Number(one.split("/")[1]));
          expect(numbers).toEqual([...new Set(numbers)].sort((x, y) => x - y));
          expect(numbers.length).toBeLessThanOrEqual(count);
        }
        const total = [...posted.values()].reduce((sum, count) => sum + count, 0);
        expect(receiver.handled.length + dead.size).toBe(total);
        expect(rig.store.rows.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});

interface Scene {
  readonly rig: Rig;
  readonly senders: readonly Session[];
  readonly receiver: Receiver;
  readonly posted: Map<string, number>;
}

async function play(step: Step, { rig, senders, receiver, posted }: Scene): Promise<void> {
  if (step.what === "post") {
    const sender = senders[step.sender] as Session;
    const number = posted.get(sender.agentId) ?? 0;
    posted.set(sender.agentId, number + 1);
    rig.post(sender, String(number), "r", { timeoutMs: 600_000 });
  } else if (step.what === "handle") receiver.handle(step.kind);
  else if (step.what === "take") receiver.take();
  else if (step.what === "reconnect") {
    receiver.disconnect();
    rig.attach(receiver.session);
  } else if (step.what === "away") rig.store.away = !rig.store.away;
  else if (step.what === "wait") {
    rig.clock.advance(step.ms);
    rig.office.expire(rig.clock.nowMs());
  } else await rig.office.work().catch(() => undefined);
}

async function drain(rig: Rig, receiver: Receiver): Promise<void> {
  rig.store.away = false;
  for (let round = 0; round < 400; round += 1) {
    await rig.office.work();
    receiver.take();
    receiver.handle("done");
    rig.clock.advance(50);
    rig.office.expire(rig.clock.nowMs());
  }
}
