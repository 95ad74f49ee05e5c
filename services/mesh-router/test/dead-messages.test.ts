import { randomUUID } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { AckKind } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { TestAgent } from "./_agent.ts";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;
let admin: ReturnType<RunningRouter["deadMessages"]>;
let alice: TestAgent;
let bob: TestAgent;
let to: string;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
  admin = router.deadMessages(await fixture.identity.token({ sub: "admin" }));
});
afterAll(() => fixture.close());

beforeEach(async () => {
  const tag = randomUUID().slice(0, 8);
  to = `bob-${tag}`;
  alice = await router.agent(`alice-${tag}`);
  bob = await router.agent(to);
});

const requestId = () => randomUUID();

/** Makes dead messages and returns their ids, the oldest first. */
async function kill(...messageIds: string[]): Promise<string[]> {
  for (const messageId of messageIds) {
    alice.mail(messageId, to, { subject: "note" });
    const delivery = await waitFor(
      () => bob.deliveries.find((one) => one.messageId === messageId),
      { what: messageId },
    );
    bob.ack(delivery.deliveryId, AckKind.REJECT, `no use for ${messageId}`);
  }
  const dead = await waitFor(
    async () => {
      const { deadMessages } = await admin.listDeadMessages({ filter: { toAgentId: to } });
      return deadMessages.length === messageIds.length ? deadMessages : undefined;
    },
    { what: "the dead messages" },
  );
  return dead.map(({ deadMessageId }) => deadMessageId).toReversed();
}

describe("DeadMessageService.ListDeadMessages", () => {
  it("lists the latest first, by filter and by page, without bodies", async () => {
    await kill("m1", "m2", "m3");
    const first = await admin.listDeadMessages({
      filter: { toAgentId: to, reason: "REJECTED" },
      page: { pageSize: 2 },
    });
    expect(first.deadMessages.map(({ messageId }) => messageId)).toEqual(["m3", "m2"]);
    expect(first.deadMessages[0]).toMatchObject({
      toAgentId: to,
      subject: "note",
      reason: "REJECTED",
      message: "no use for m3",
      attempts: 0,
    });
    expect(first.deadMessages[0]?.payload).toBeUndefined();
    const pageToken = first.page?.nextPageToken ?? "";
    const rest = await admin.listDeadMessages({
      filter: { toAgentId: to },
      page: { pageSize: 2, pageToken },
    });
    expect(rest.deadMessages.map(({ messageId }) => messageId)).toEqual(["m1"]);
    const none = await admin.listDeadMessages({ filter: { fromPrincipalId: "nobody" } });
    expect(none.deadMessages).toEqual([]);
    await expect(admin.listDeadMessages({ page: { pageToken: "?" } })).rejects.toMatchObject({
      reason: "PAGE_TOKEN_INVALID",
    });
  });
});

describe("DeadMessageService.GetDeadMessage", () => {
  it("shows the body, and nothing of another namespace", async () => {
    const [deadMessageId = ""] = await kill("m1");
    const { deadMessage } = await admin.getDeadMessage({ deadMessageId });
    expect(new TextDecoder().decode(deadMessage?.payload?.data)).toBe("m1");
    const token = await fixture.identity.token({ sub: "admin", ns: "team-b" });
    const notFound = { kind: "not_found", reason: "DEAD_MESSAGE_NOT_FOUND" };
    await expect(
      router.deadMessages(token).getDeadMessage({ deadMessageId }),
    ).rejects.toMatchObject(notFound);
    await expect(admin.getDeadMessage({ deadMessageId: "x" })).rejects.toMatchObject(notFound);
  });
});

describe("DeadMessageService.RedeliverDeadMessages", () => {
  it("puts messages back once, whoever asks, and answers a repeat as the first time", async () => {
    const [one = "", two = ""] = await kill("m1", "m2");
    const request = { requestId: requestId(), deadMessageIds: [one] };
    expect((await admin.redeliverDeadMessages(request)).deadMessageIds).toEqual([one]);
    const again = await waitFor(() => bob.deliveries[2], { what: "the redelivery" });
    expect(again).toMatchObject({ messageId: "m1", attempt: 1 });
    expect((await admin.redeliverDeadMessages(request)).deadMessageIds).toEqual([one]);
    const other = { requestId: requestId(), deadMessageIds: [one] };
    expect((await admin.redeliverDeadMessages(other)).deadMessageIds).toEqual([]);
    await expect(
      admin.redeliverDeadMessages({ ...request, deadMessageIds: [two] }),
    ).rejects.toMatchObject({ kind: "conflict", reason: "REQUEST_ID_REUSED" });
    const byFilter = { requestId: requestId(), filter: { toAgentId: to } };
    expect((await admin.redeliverDeadMessages(byFilter)).deadMessageIds).toEqual([two]);
    const shown = await admin.listDeadMessages({ filter: { toAgentId: to } });
    expect(shown.deadMessages).toEqual([]);
    const all = await admin.listDeadMessages({
      filter: { toAgentId: to },
      includeRedelivered: true,
    });
    expect(all.deadMessages.every(({ redeliverTime }) => redeliverTime !== undefined)).toBe(true);
    bob.ack(again.deliveryId);
    bob.ack((await waitFor(() => bob.deliveries[3], { what: "the other" })).deliveryId);
    await fixture.untilMail(0);
  });

  it("refuses ids beside a filter", async () => {
    const both = { requestId: requestId(), deadMessageIds: ["1"], filter: { toAgentId: to } };
    await expect(admin.redeliverDeadMessages(both)).rejects.toMatchObject({ kind: "invalid" });
  });
});

describe("DeadMessageService.PurgeDeadMessages", () => {
  it("deletes those that were chosen, of the caller's namespace only", async () => {
    const [one = ""] = await kill("m1", "m2");
    const token = await fixture.identity.token({ sub: "admin", ns: "team-b" });
    const request = { requestId: requestId(), deadMessageIds: [one] };
    const elsewhere = await router.deadMessages(token).purgeDeadMessages(request);
    expect(elsewhere.purged).toBe(0);
    expect((await admin.purgeDeadMessages(request)).purged).toBe(1);
    expect((await admin.purgeDeadMessages(request)).purged).toBe(0);
    const rest = { requestId: requestId(), filter: { toAgentId: to } };
    expect((await admin.purgeDeadMessages(rest)).purged).toBe(1);
    const left = await admin.listDeadMessages({ filter: { toAgentId: to } });
    expect(left.deadMessages).toEqual([]);
  });

  it("leaves an entry of the audit log for each call, as redelivering does, and no message", async () => {
    await kill("audited");
    const filter = { toAgentId: to };
    const redelivery = { requestId: requestId(), filter };
    await admin.redeliverDeadMessages(redelivery);
    await admin.redeliverDeadMessages(redelivery);
    const purge = { requestId: requestId(), filter };
    await admin.purgeDeadMessages(purge);
    const asked = new Set<string>([redelivery.requestId, purge.requestId]);
    const rows = await fixture.sql<{ draft: Buffer }>(
      "SELECT draft FROM audit_outbox ORDER BY entry_no",
    );
    const entries = rows
      .map(({ draft }) => fromBinary(AuditEntrySchema, draft))
      .filter((entry) => asked.has(entry.requestId));
    expect(entries.map(({ action }) => action.split("/")[1])).toEqual([
      "RedeliverDeadMessages",
      "RedeliverDeadMessages",
      "PurgeDeadMessages",
    ]);
    for (const entry of entries) {
      expect(entry).toMatchObject({ actor: "admin", result: AuditResult.ALLOWED });
      expect(entry.fields).toMatchObject([{ name: "filter.to_agent_id", value: to }]);
    }
  });

  it("needs its own scope, as redelivering does; reading is not enough", async () => {
    const scopes = ["mesh:mailbox:read"];
    const reader = router.deadMessages(await fixture.identity.token({ sub: "reader", scopes }));
    await reader.listDeadMessages({});
    const refused = { kind: "forbidden", reason: "SCOPE_MISSING" };
    const request = { requestId: requestId() };
    await expect(reader.purgeDeadMessages(request)).rejects.toMatchObject(refused);
    await expect(reader.redeliverDeadMessages(request)).rejects.toMatchObject(refused);
    const nobody = router.deadMessages(await fixture.identity.token({ sub: "n", scopes: [] }));
    await expect(nobody.listDeadMessages({})).rejects.toMatchObject(refused);
    await expect(nobody.getDeadMessage({ deadMessageId: "1" })).rejects.toMatchObject(refused);
  });
});
