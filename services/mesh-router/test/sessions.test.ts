import { SessionState } from "@nexus/proto/mesh";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MeshFixture, type RunningRouter } from "./_router.ts";

let fixture: MeshFixture;
let router: RunningRouter;

beforeAll(async () => {
  fixture = await MeshFixture.create();
  router = await fixture.start();
});
afterAll(() => fixture.close());

describe("AgentSessionService.Connect", () => {
  it("welcomes an agent with its epoch, intervals and a resume token", async () => {
    const agent = await router.agent("welcomed");
    expect(agent.epoch).toBeGreaterThan(0n);
    expect(agent.welcome).toMatchObject({
      resumed: false,
      heartbeatInterval: { seconds: 5n },
      lostAfter: { seconds: 60n },
      serverVersion: "0.1.0",
    });
    expect(agent.welcome?.sessionId).toMatch(/^ses_/);
    expect(Buffer.from(agent.resumeToken, "base64url")).toHaveLength(32);
  });

  it("gives every new session the next epoch and ends the old one as superseded", async () => {
    const orchestrator = await router.orchestrator();
    const first = await router.agent("superseded");
    const second = await router.agent("superseded");
    expect(second.epoch).toBeGreaterThan(first.epoch);
    expect(second.welcome?.resumed).toBe(false);
    expect(await first.peer.untilEnded()).toMatchObject({
      kind: "conflict",
      reason: "SESSION_SUPERSEDED",
    });
    await orchestrator.untilState("superseded", first.epoch, SessionState.LOST);
    await orchestrator.untilState("superseded", second.epoch, SessionState.CONNECTED);
  });

  it("keeps the epoch of an agent that comes back with its resume token", async () => {
    const orchestrator = await router.orchestrator();
    const first = await router.agent("resumes");
    first.peer.break();
    await orchestrator.untilState("resumes", first.epoch, SessionState.DETACHED);
    const second = await router.agent("resumes", { resumeToken: first.resumeToken, slots: 9 });
    expect(second.welcome).toMatchObject({
      resumed: true,
      epoch: first.epoch,
      sessionId: first.welcome?.sessionId,
      resumeToken: first.resumeToken,
    });
    await waitFor(() => orchestrator.changes.at(-1)?.slots === 9, { what: "the new slots" });
    expect(orchestrator.stateOf("resumes", first.epoch)).toBe(SessionState.CONNECTED);
  });

  it("lets a resumed stream take over one that looks alive", async () => {
    const first = await router.agent("half-open");
    const second = await router.agent("half-open", { resumeToken: first.resumeToken });
    expect(second.welcome).toMatchObject({ resumed: true, epoch: first.epoch });
    expect((await first.peer.untilEnded())?.reason).toBe("SESSION_SUPERSEDED");
    expect(second.peer.ended).toBe(false);
  });

  it.each([
    ["a token of another epoch", async () => (await router.agent("wrong-token")).resumeToken],
    ["a token of another agent", async () => (await router.agent("other-agent")).resumeToken],
    ["a made-up token", async () => "AAAA"],
  ])("begins a new epoch for %s", async (_name, makeToken) => {
    const resumeToken = await makeToken();
    await router.agent("wrong-token");
    const again = await router.agent("wrong-token", { resumeToken });
    expect(again.welcome?.resumed).toBe(false);
    expect(again.resumeToken).not.toBe(resumeToken);
  });

  it("counts epochs up for many agents that connect at once", async () => {
    const names = Array.from({ length: 100 }, (_, i) => `crowd-${i}`);
    const first = await Promise.all(names.map((name) => router.agent(name)));
    const second = await Promise.all(names.map((name) => router.agent(name)));
    const grown = second.filter((agent, i) => agent.epoch > (first[i]?.epoch ?? 0n));
    expect(grown).toHaveLength(names.length);
  });

  it("tells orchestrators when an agent pauses, changes its slots and says goodbye", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("pauses");
    agent.send({ credit: { slots: 0 } });
    await orchestrator.untilState("pauses", agent.epoch, SessionState.DRAINING);
    agent.send({ credit: { slots: 2 } });
    await orchestrator.untilState("pauses", agent.epoch, SessionState.CONNECTED);
    expect(orchestrator.changes.at(-1)?.slots).toBe(2);
    agent.send({ goodbye: { reason: "done" } });
    expect(await agent.peer.untilEnded()).toBeUndefined();
    await orchestrator.untilState("pauses", agent.epoch, SessionState.CLOSED);
    const again = await router.agent("pauses", { resumeToken: agent.resumeToken });
    expect(again.welcome?.resumed).toBe(false);
  });

  it("detaches an agent that ends its half without a goodbye", async () => {
    const orchestrator = await router.orchestrator();
    const agent = await router.agent("half-closed");
    agent.peer.endSending();
    expect(await agent.peer.untilEnded()).toBeUndefined();
    await orchestrator.untilState("half-closed", agent.epoch, SessionState.DETACHED);
  });

  it.each([
    ["a frame before hello", { heartbeat: { busySlots: 0 } }],
    ["a hello with company", { hello: { agentId: "rude", slots: 1 }, heartbeat: {} }],
    ["a hello without slots", { hello: { agentId: "rude", slots: 0 } }],
    [
      "a hello with too much credit",
      { hello: { agentId: "rude", slots: 1, messageCredit: 10_001 } },
    ],
  ])("refuses %s as FRAME_INVALID", async (_name, frame) => {
    const token = await fixture.identity.token({ sub: "rude", kind: "agent" });
    const agent = await router.openAgent(token);
    agent.send(frame);
    expect(await agent.peer.untilEnded()).toMatchObject({
      kind: "invalid",
      reason: "FRAME_INVALID",
    });
  });

  it.each([
    ["a second hello", { hello: { agentId: "broken", slots: 1 } }],
    ["too many items", { acks: Array.from({ length: 513 }, () => ({ deliveryId: "x" })) }],
    ["an update without content", { taskUpdates: [{ taskId: "t", fence: 1n }] }],
    [
      "an update without a fence",
      { taskUpdates: [{ taskId: "t", update: { case: "accepted", value: {} } }] },
    ],
    ["a message without an id", { sends: [{ toAgentId: "x" }] }],
  ] as const)("ends a session on %s and keeps it resumable", async (_name, frame) => {
    const agent = await router.agent("broken");
    agent.send(frame as never);
    expect(await agent.peer.untilEnded()).toMatchObject({
      kind: "invalid",
      reason: "FRAME_INVALID",
    });
    const again = await router.agent("broken", { resumeToken: agent.resumeToken });
    expect(again.welcome?.resumed).toBe(true);
  });

  it("refuses sessions beyond its limit, but not the agents it holds", async () => {
    const small = await fixture.start({ sessionsMax: 1, routerId: "router-small" });
    const first = await small.agent("limit-1");
    await expect(small.agent("limit-2")).rejects.toMatchObject({
      kind: "exhausted",
      reason: "SESSION_LIMIT",
    });
    const again = await small.agent("limit-1");
    expect(again.epoch).toBeGreaterThan(first.epoch);
  });
});

describe("the identity of a session", () => {
  it.each([
    ["another agent's id", { sub: "alice", kind: "agent" }, "bob"],
    ["a user's token", { sub: "alice", kind: "user" }, "alice"],
    ["a service's token", { sub: "alice", kind: "service" }, "alice"],
  ] as const)("is refused with %s", async (_name, init, helloAs) => {
    const token = await fixture.identity.token(init);
    const agent = await router.agentUnwelcomed("alice", { token, helloAs });
    expect(await agent.peer.untilEnded()).toMatchObject({
      kind: "forbidden",
      reason: "AGENT_ID_MISMATCH",
    });
  });

  it("is refused without a token and without the scope", async () => {
    const forged = await router.openAgent("not-a-token");
    expect((await forged.peer.untilEnded())?.reason).toBe("TOKEN_INVALID");
    const token = await fixture.identity.token({
      sub: "scopeless",
      kind: "agent",
      scopes: ["registry:agent:read"],
    });
    const scopeless = await router.agentUnwelcomed("scopeless", { token });
    expect(await scopeless.peer.untilEnded()).toMatchObject({
      kind: "forbidden",
      reason: "SCOPE_MISSING",
    });
  });

  it("ends at once, and for good, when its token is revoked", async () => {
    const orchestrator = await router.orchestrator();
    const token = await fixture.identity.token({ sub: "revoked", kind: "agent" });
    const agent = await router.agent("revoked", { token });
    fixture.identity.revoke(token);
    expect(await agent.peer.untilEnded()).toMatchObject({
      kind: "unauthenticated",
      reason: "TOKEN_REVOKED",
    });
    await orchestrator.untilState("revoked", agent.epoch, SessionState.LOST);
    const again = await router.agent("revoked", { resumeToken: agent.resumeToken });
    expect(again.welcome?.resumed).toBe(false);
  });

  it("ends with its token, unless a fresh one came in time", async () => {
    const mint = (ttlMs: number) => fixture.identity.token({ sub: "renews", kind: "agent", ttlMs });
    const short = await router.agent("renews", { token: await mint(700) });
    expect((await short.peer.untilEnded())?.reason).toBe("TOKEN_EXPIRED");

    const renewing = await router.agent("renews", { token: await mint(700) });
    renewing.send({ reauth: { accessToken: await mint(60_000) } });
    renewing.autoAck = true;
    const sender = await router.agent("renews-sender");
    const startedAt = Date.now();
    await waitFor(() => Date.now() - startedAt > 900, { what: "the first token's end" });
    sender.post("m1", "renews");
    expect((await sender.outcomeOf("m1")).outcome).toBe(1);
  });

  it("ends on a fresh token of somebody else", async () => {
    const agent = await router.agent("stolen");
    const accessToken = await fixture.identity.token({ sub: "thief", kind: "agent" });
    agent.send({ reauth: { accessToken } });
    expect(await agent.peer.untilEnded()).toMatchObject({
      kind: "unauthenticated",
      reason: "TOKEN_INVALID",
    });
  });

  it("separates agents of the same id in two namespaces", async () => {
    const one = await router.agent("twin", { namespace: "team-a" });
    const two = await router.agent("twin", { namespace: "team-b" });
    expect(two.welcome?.sessionId).not.toBe(one.welcome?.sessionId);
    expect(one.peer.ended).toBe(false);
  });
});
