import { DeliveryOutcome } from "@nexus/proto/mesh";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
});
afterAll(() => fixture.close());

const bytes = (text: string) => ({
  contentType: "text/plain",
  data: new TextEncoder().encode(text),
});
const userToken = (init: object = {}) => fixture.identity.token({ sub: "ursula", ...init });
const SHORT = { seconds: 0n, nanos: 60_000_000 };

describe("MessagingService.SendMessage", () => {
  it("delivers for a user and answers with the outcome", async () => {
    const bob = await router.agent("bob");
    bob.autoAck = true;
    const messaging = router.messaging(await userToken());
    const request = { toAgentId: "bob", subject: "hi", payload: bytes("hello") };
    const { outcome } = await messaging.sendMessage(request);
    expect(outcome?.outcome).toBe(DeliveryOutcome.DELIVERED);
    expect(await bob.delivery()).toMatchObject({ fromPrincipalId: "ursula", subject: "hi" });
  });

  it("answers EXPIRED, NO_SUCH_AGENT and keeps to the caller's namespace", async () => {
    await router.agent("silent");
    await router.agent("hidden", { namespace: "team-b" });
    const messaging = router.messaging(await userToken());
    const expired = await messaging.sendMessage({ toAgentId: "silent", timeout: SHORT });
    expect(expired.outcome?.outcome).toBe(DeliveryOutcome.EXPIRED);
    const byDeadline = await messaging.sendMessage({ toAgentId: "silent" }, { timeoutMs: 1_200 });
    expect(byDeadline.outcome?.outcome).toBe(DeliveryOutcome.EXPIRED);
    const hidden = await messaging.sendMessage({ toAgentId: "hidden" });
    expect(hidden.outcome?.outcome).toBe(DeliveryOutcome.NO_SUCH_AGENT);
  });

  it("refuses a request that breaks the contract, a missing scope and a missing token", async () => {
    const messaging = router.messaging(await userToken());
    await expect(messaging.sendMessage({ toAgentId: "" })).rejects.toMatchObject({
      kind: "invalid",
    });
    const large = { contentType: "", data: new Uint8Array(256 * 1024 + 1) };
    await expect(messaging.sendMessage({ toAgentId: "bob", payload: large })).rejects.toMatchObject(
      { kind: "invalid" },
    );
    const scopeless = router.messaging(await userToken({ scopes: ["mesh:session:connect"] }));
    await expect(scopeless.sendMessage({ toAgentId: "bob" })).rejects.toMatchObject({
      kind: "forbidden",
      reason: "SCOPE_MISSING",
    });
    await expect(router.messaging("").sendMessage({ toAgentId: "bob" })).rejects.toMatchObject({
      kind: "unauthenticated",
    });
  });
});

describe("MessagingService.CallAgent", () => {
  it("returns the reply", async () => {
    const echo = await router.agent("echo");
    const messaging = router.messaging(await userToken());
    const call = messaging.callAgent({ toAgentId: "echo", payload: bytes("ping") });
    const question = await echo.delivery();
    expect(question.expectsReply).toBe(true);
    echo.post("pong", "", { inReplyTo: question.deliveryId });
    const { outcome, reply } = await call;
    expect(outcome?.outcome).toBe(DeliveryOutcome.DELIVERED);
    expect(new TextDecoder().decode(reply?.data)).toBe("pong");
    expect((await echo.outcomeOf("pong")).outcome).toBe(DeliveryOutcome.DELIVERED);
  });

  it("returns an outcome without a reply when none comes", async () => {
    const mute = await router.agent("mute");
    mute.autoAck = true;
    const messaging = router.messaging(await userToken());
    const expired = await messaging.callAgent({ toAgentId: "mute", timeout: SHORT });
    expect(expired.outcome?.outcome).toBe(DeliveryOutcome.EXPIRED);
    expect(expired.reply).toBeUndefined();
    const nobody = await messaging.callAgent({ toAgentId: "nobody" });
    expect(nobody.outcome?.outcome).toBe(DeliveryOutcome.NO_SUCH_AGENT);
  });

  it("is refused when the agent answers in parts, who is told to stop", async () => {
    const parts = await router.agent("parts");
    const messaging = router.messaging(await userToken());
    const call = messaging.callAgent({ toAgentId: "parts", payload: bytes("ping") });
    const { deliveryId } = await parts.delivery();
    parts.post("one", "", { inReplyTo: deliveryId, more: true });
    parts.post("two", "", { inReplyTo: deliveryId });
    const { outcome, reply } = await call;
    const inParts = { outcome: DeliveryOutcome.REFUSED, reason: "PARTS_NOT_TAKEN" };
    expect(outcome).toMatchObject(inParts);
    expect(reply).toBeUndefined();
    expect(await parts.outcomeOf("one")).toMatchObject(inParts);
    expect(await parts.outcomeOf("two")).toMatchObject({ reason: "NOT_AWAITED" });
    expect(parts.deliveryCancels).toEqual([deliveryId]);
  });

  it("refuses a token without the scope", async () => {
    const scopeless = router.messaging(await userToken({ scopes: [] }));
    await expect(scopeless.callAgent({ toAgentId: "echo" })).rejects.toMatchObject({
      kind: "forbidden",
      reason: "SCOPE_MISSING",
    });
  });
});
