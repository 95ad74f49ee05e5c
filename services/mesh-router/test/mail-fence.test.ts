/** Whose words about failed deliveries count once a receiver's session is elsewhere. */
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DeathReason } from "../src/domain/mail/mail.ts";
import type { MailRef } from "../src/domain/mail/mail-ports.ts";
import { insertOf, NO_WORDS, newName, openMailStore } from "./_mail.ts";
import { metric } from "./_replicas.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

const HERE = "here";
const EPOCH = 5n;
/** Sessions of a replica that went to another one. */
const MOVED = 'sessions_ended_total{cause="moved"}';

let fixture: MeshFixture;

beforeAll(async () => {
  fixture = await MeshFixture.create();
});
afterAll(() => fixture.close());

interface Row {
  readonly failures: number;
  readonly isHeld: boolean | null;
}

/** What is left of a message. */
async function rowOf({ mailboxId }: Pick<MailRef, "mailboxId">): Promise<Row | undefined> {
  const [row] = await fixture.sql<Row>(
    `SELECT failures, due_at > now() AS "isHeld" FROM mail WHERE mailbox_id = ${mailboxId}`,
  );
  return row;
}

describe("a replica's word about mail", () => {
  /** A message to an agent whose session is of this epoch at this replica, and what one replica says in its name. */
  async function scene(routerId: string, epoch: bigint) {
    const { store } = openMailStore(fixture, 1, { routerId: HERE });
    const agentId = newName("bob");
    await fixture.sql(
      `INSERT INTO sessions (namespace, agent_id, epoch, session_id, router_id, resume_hash, slots, live, opened_at)
       VALUES ('default', '${agentId}', ${epoch}, '${agentId}', '${routerId}', '', 1, true, now())`,
    );
    const boxes = await store.resolve([{ namespace: "default", agentId, known: true }]);
    const [mailboxId] = boxes.values() as Iterable<bigint>;
    const inserts = [insertOf([mailboxId as bigint])];
    const [stored] = (await store.commit({ ...NO_WORDS, inserts })).results;
    const seq = stored?.kind === "stored" ? (stored.seqs[0] as bigint) : 0n;
    const ref = { mailboxId: mailboxId as bigint, seq, epoch: EPOCH };
    const say = (words: Partial<typeof NO_WORDS>) =>
      store.commit({ ...NO_WORDS, ...words, inserts: [] });
    return {
      ref,
      fail: (failures: number) =>
        say({ failures: [{ ...ref, failures, delayMs: 60_000 }] as never[] }),
      die: (reason: DeathReason) =>
        say({ deaths: [{ ...ref, failures: 3, reason, text: "it is" }] as never[] }),
    };
  }

  it("counts a failure while it has the session, and counts never shrink", async () => {
    const { ref, fail } = await scene(HERE, EPOCH);
    await fail(2);
    expect(await rowOf(ref)).toEqual({ failures: 2, isHeld: true });
    await fail(1);
    expect(await rowOf(ref)).toEqual({ failures: 2, isHeld: true });
  });

  it("counts nothing once the session is elsewhere: its agent may be at work on it", async () => {
    const { ref, fail } = await scene("elsewhere", EPOCH);
    await fail(1);
    expect(await rowOf(ref)).toEqual({ failures: 0, isHeld: null });
  });

  it("counts what an epoch held that is over, wherever the next one is", async () => {
    const { ref, fail } = await scene("elsewhere", EPOCH + 1n);
    await fail(1);
    expect(await rowOf(ref)).toEqual({ failures: 1, isHeld: true });
  });

  it.each<DeathReason>(["ATTEMPTS", "EXPIRED", "REJECTED"])(
    "gives up for %s while it has the session",
    async (reason) => {
      const { ref, die } = await scene(HERE, EPOCH);
      expect((await die(reason)).kept).toEqual(new Set());
      expect(await rowOf(ref)).toBeUndefined();
    },
  );

  it.each<DeathReason>(["ATTEMPTS", "EXPIRED", "REJECTED"])(
    "gives up nothing for %s once the session is elsewhere, and learns so",
    async (reason) => {
      const { ref, die } = await scene("elsewhere", EPOCH);
      expect((await die(reason)).kept).toEqual(new Set([ref.mailboxId]));
      expect(await rowOf(ref)).toEqual({ failures: 0, isHeld: null });
    },
  );

  it("leaves the giving up to the next epoch, which learns how many attempts there were", async () => {
    const { ref, die } = await scene(HERE, EPOCH + 1n);
    await die("ATTEMPTS");
    expect(await rowOf(ref)).toMatchObject({ failures: 3 });
  });
});

describe("a receiver that goes to another replica", () => {
  const routers: RunningRouter[] = [];

  beforeAll(async () => {
    for (const routerId of ["first", "second"]) {
      const short = { lostAfterMs: 2_000, heartbeatIntervalMs: 200, mailAttemptsMax: 3 };
      routers.push(await fixture.start({ routerId, ...short }));
    }
  });

  it("keeps what it has in hand, and each move costs no attempt", async () => {
    const [first, second] = routers as [RunningRouter, RunningRouter];
    const alice = await first.agent("alice");
    let bob = await first.agent("bob");
    const beat = setInterval(() => {
      for (const agent of [alice, bob]) agent.send({ heartbeat: { busySlots: 0 } });
    }, 200);
    fixture.onClose(() => clearInterval(beat));
    alice.mail("long", "bob");
    await bob.delivery();
    const [mailbox] = await fixture.sql<{ id: string }>(
      "SELECT mailbox_id::text AS id FROM mailboxes WHERE agent_id = 'bob'",
    );
    const ref = { mailboxId: BigInt(mailbox?.id ?? 0) };
    for (const [from, to] of [
      [first, second],
      [second, first],
    ] as const) {
      const ends = await metric(from, MOVED);
      bob.peer.break();
      bob = await to.agent("bob", { resumeToken: bob.resumeToken });
      expect(await bob.delivery()).toMatchObject({ messageId: "long", attempt: 1 });
      await waitFor(async () => (await metric(from, MOVED)) > (ends || 0), {
        what: "the word of the move",
      });
      // What the old replica has to say about mail is written before, or with, what it stores next.
      const next = await from.agent(newName("anne"));
      const mark = newName("mark");
      next.mail(mark, "alice");
      await next.outcomeOf(mark);
      expect(await rowOf(ref)).toEqual({ failures: 0, isHeld: null });
    }
    bob.ack((await bob.delivery()).deliveryId);
    await waitFor(async () => (await rowOf(ref)) === undefined, { what: "the acknowledgement" });
  });

  it("has lost an attempt with its session when it begins a new one", async () => {
    const [first, second] = routers as [RunningRouter, RunningRouter];
    const carol = await first.agent("carol");
    const before = await first.agent("dan");
    carol.mail("poison", "dan");
    await before.delivery();
    before.peer.break();
    const after = await second.agent("dan");
    // Whoever is silent for a second is lost, and its acknowledgement with it.
    const beat = setInterval(() => after.send({ heartbeat: { busySlots: 0 } }), 200);
    fixture.onClose(() => clearInterval(beat));
    const again = await waitFor(
      () => after.deliveries.find(({ attempt }) => attempt === 2) ?? after.deliveries[0],
      {
        what: "the next attempt",
      },
    );
    expect(again.messageId).toBe("poison");
    const [mailbox] = await fixture.sql<{ id: string }>(
      "SELECT mailbox_id::text AS id FROM mailboxes WHERE agent_id = 'dan'",
    );
    const ref = { mailboxId: BigInt(mailbox?.id ?? 0) };
    await waitFor(async () => (await rowOf(ref))?.failures === 1, { what: "the failure" });
    // The first one may have been sent before its attempt was counted: then it was taken back, and a second follows.
    const isAcknowledged = async () => {
      for (const { deliveryId } of after.deliveries) after.ack(deliveryId);
      return (await rowOf(ref)) === undefined;
    };
    await waitFor(isAcknowledged, { what: "the acknowledgement" });
  });
});
