import { type Assignment, StatePolicy, TaskUpdateOutcome } from "@nexus/proto/mesh";
import { SecretService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, type RpcChannel } from "@nexus/rpc";
import { AgentState, createAgent, defineTopic, JobState, TaskError, TaskState } from "@nexus/sdk";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BARE_SCOPES, BareAgent, registerBareAgent } from "./_bare-agent.ts";
import { startFleet, submitTasks, type TestFleet, type TestUser, waitForEnd } from "./_fleet.ts";

let fleet: TestFleet;
let user: TestUser;
let channel: RpcChannel;

beforeAll(async () => {
  fleet = await startFleet();
  user = await fleet.createUser();
  channel = createRpcChannel({ address: fleet.stack.info.gateway });
}, 120_000);

afterAll(async () => {
  channel.close();
  await fleet[Symbol.asyncDispose]();
}, 60_000);

function connect(agentId: string, token: string, resumeToken = ""): BareAgent {
  return new BareAgent(channel, { agentId, token, resumeToken });
}

function registerBare(agentId: string, capability: string): Promise<string> {
  return registerBareAgent(fleet, channel, agentId, capability);
}

describe("an agent's session", () => {
  it("refuses the word of a holder whose lease is over", async () => {
    const token = await registerBare("zombie-1", "zombie.work");
    const first = connect("zombie-1", token);
    await first.welcome();
    const jobId = await submitTasks(user.client, [{ key: "a", capability: "zombie.work" }]);
    const old = await first.assignment();

    const second = connect("zombie-1", token);
    const { resumed } = await second.welcome();
    expect(resumed).toBe(false);
    expect(await first.ended).toMatchObject({ reason: "SESSION_SUPERSEDED" });
    const fresh = await second.assignment();
    expect(fresh.taskId).toBe(old.taskId);
    expect(fresh.fence).toBeGreaterThan(old.fence);

    second.complete(old);
    expect(await second.outcome()).toBe(TaskUpdateOutcome.STALE);
    const { job } = await user.client.jobs.getJob({ jobId });
    expect(job?.state).toBe(JobState.RUNNING);

    second.complete(fresh);
    expect((await waitForEnd(user.client, jobId)).state).toBe(JobState.COMPLETED);
    second.cut();
  });

  it("keeps epoch and lease when it is resumed in time", async () => {
    const token = await registerBare("blinker-1", "blinker.work");
    const first = connect("blinker-1", token);
    const before = await first.welcome();
    const jobId = await submitTasks(user.client, [{ key: "a", capability: "blinker.work" }]);
    const lease = await first.assignment();
    first.accept(lease);
    await waitFor(
      async () => {
        const { tasks } = await user.client.jobs.listTasks({ jobId });
        return tasks[0]?.state === TaskState.RUNNING || undefined;
      },
      { timeoutMs: 10_000, what: "the task to run" },
    );
    first.cut();
    await first.ended;

    const second = connect("blinker-1", token, before.resumeToken);
    const after = await second.welcome();
    expect(after).toMatchObject({ resumed: true, epoch: before.epoch });
    second.complete(lease);
    expect(await second.outcome()).toBe(TaskUpdateOutcome.COMMITTED);
    const job = await waitForEnd(user.client, jobId);
    expect(job.state).toBe(JobState.COMPLETED);
    const { tasks } = await user.client.jobs.listTasks({ jobId });
    expect(tasks[0]?.attempts).toBe(1);
    second.cut();
  });

  it("lets a task's secret be read under the fence that holds it, and under no older one", async () => {
    const path = "app/for-tasks";
    const value = Buffer.from("hush");
    await fleet.admin.secrets.putSecret({ requestId: "put-1", path, value });
    await fleet.admin.secrets.updateSecretMetadata({ requestId: "p-2", path, taskRequired: true });
    const identity = await fleet.createAgentIdentity("keeper-1", BARE_SCOPES);
    const { gateway } = fleet.stack.info;
    const seen: unknown[] = [];
    await using _agent = await createAgent({ ...identity, gateway, logger: createSilentLogger() })
      .capability("secret.read@1.0.0", {}, async (ctx) => {
        const secret = await ctx.secret(path);
        seen.push([secret.text(), secret.version, JSON.stringify(secret)]);
      })
      .start();
    const jobId = await submitTasks(user.client, [{ key: "a", capability: "secret.read" }]);
    expect((await waitForEnd(user.client, jobId)).state).toBe(JobState.COMPLETED);
    // The value is in no text that a log line or a result would make of it.
    expect(seen).toEqual([["hush", 1, JSON.stringify({ path, version: 1, latestVersion: 1 })]]);

    const token = await registerBare("zombie-2", "zombie.secret");
    const first = connect("zombie-2", token);
    await first.welcome();
    const held = await submitTasks(user.client, [{ key: "a", capability: "zombie.secret" }]);
    const old = await first.assignment();
    const secrets = createRpcClient(SecretService, channel);
    const read = ({ taskId, fence }: Assignment) =>
      secrets.getSecret({ path, task: { taskId, fence } }, { token });
    expect(Buffer.from((await read(old)).value)).toEqual(value);
    const second = connect("zombie-2", token);
    await second.welcome();
    const fresh = await second.assignment();
    // A verdict may be a second old.
    await waitFor(
      () =>
        read(old).then(
          () => false,
          (error: unknown) => NexusError.is(error, "conflict", "LEASE_LOST"),
        ),
      { what: "the old fence to be refused" },
    );
    expect(Buffer.from((await read(fresh)).value)).toEqual(value);
    second.complete(fresh);
    await waitForEnd(user.client, held);
    second.cut();
  });

  it("refuses to speak for another agent", async () => {
    const token = await registerBare("honest-2", "honest.work");
    const liar = connect("somebody-else", token);
    expect(NexusError.from(await liar.ended)).toMatchObject({
      kind: "forbidden",
      reason: "AGENT_ID_MISMATCH",
    });
  });

  it("ends within a second of its token's revocation", async () => {
    const token = await registerBare("revoked-1", "revoked.work");
    const agent = connect("revoked-1", token);
    await agent.welcome();
    const startedAtMs = performance.now();
    await fleet.admin.principals.disablePrincipal({ requestId: "x1", principalId: "revoked-1" });
    expect(NexusError.from(await agent.ended).reason).toBe("TOKEN_REVOKED");
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });

  it("becomes OFFLINE with a goodbye and LOST without one", async () => {
    const polite = await registerBare("polite-1", "polite.work");
    const rude = await registerBare("rude-1", "rude.work");
    const first = connect("polite-1", polite);
    const second = connect("rude-1", rude);
    await Promise.all([first.welcome(), second.welcome()]);
    first.send({ goodbye: { reason: "done" } });
    second.cut();
    for (const [agentId, state] of [
      ["polite-1", AgentState.OFFLINE],
      ["rude-1", AgentState.LOST],
    ] as const) {
      await waitFor(
        async () =>
          (await fleet.admin.registry.getAgent({ agentId })).agent?.state === state || undefined,
        { timeoutMs: 20_000, what: `${agentId} to be ${AgentState[state]}` },
      );
    }
  });
});

describe("agents among themselves", () => {
  it("exchange messages and replies, and learn what became of each", async () => {
    const { agent: alice } = await fleet.startAgent("alice");
    const { agent: bob } = await fleet.startAgent("bob");
    expect(bob.running).toBe(0);
    const missing = await alice.send("nobody-there", "hello", {}).catch((error: unknown) => error);
    expect(missing).toMatchObject({ kind: "not_found", reason: "AGENT_NOT_CONNECTED" });
    await alice.send("bob", "hello", { text: "hi" });
  });

  it("read and write state in their session, not by calls", async () => {
    const { admin, stack } = fleet;
    await admin.state.createBucket({ requestId: "s", bucket: "shared", policy: StatePolicy.LWW });
    const { agent } = await fleet.startAgent("keeper");
    const bucket = agent.state.bucket<string>("shared");
    await bucket.put("k", "v");
    expect((await bucket.get("k"))?.value).toBe("v");
    const { services } = stack.info;
    const metrics = await (await fetch(`${services["mesh-router"]?.ops}/metrics`)).text();
    const counted = metrics
      .split("\n")
      .filter((line) => line.startsWith("nexus_mesh_router_state_operation_seconds_count"));
    const calls = counted.map((line) => /call="(\w+)",code="ok"/.exec(line)?.[1]);
    expect(new Set(calls)).toEqual(new Set(["get", "write"]));
    expect(metrics).not.toContain("StateService/WriteEntries");
  });

  it("publish, ask many, stream, and take requests back", async () => {
    const { gateway } = fleet.stack.info;
    const orders = defineTopic<{ readonly id: number }>("orders.created");
    const seen: string[] = [];
    let stopped: unknown;
    const start = async (agentId: string) =>
      createAgent({ gateway, ...(await fleet.createAgentIdentity(agentId)) })
        .capability("talk.some@1.0.0", {}, async (ctx) => {
          await ctx.publish(orders, { id: 7 });
          return "published";
        })
        .subscribe(orders, ({ body, from }) => void seen.push(`${agentId} ${from} ${body.id}`))
        .onMessage("who", () => agentId)
        .onMessage("count", async function* count({ body }) {
          for (let i = 1; i <= (body as number); i += 1) yield i;
        })
        .onMessage("break", async function* breaks() {
          yield 1;
          yield 2;
          throw new TaskError({ reason: "BROKEN", message: "It is broken." });
        })
        .onMessage("loop", (message, ctx) => ctx.request(message.from, "who", 0))
        .onMessage(
          "slow",
          (_message, ctx) =>
            new Promise((resolve) => {
              ctx.signal.addEventListener("abort", () => {
                stopped = ctx.signal.reason;
                resolve(undefined);
              });
            }),
        )
        .start();
    await using one = await start("talk-1");
    await using two = await start("talk-2");
    await using three = await start("talk-3");
    expect(await one.publish(orders, { id: 1 })).toMatchObject({ receivers: 2, missed: 0 });
    await waitFor(() => seen.length === 2, { what: "the topic" });
    expect(seen.sort()).toEqual(["talk-2 talk-1 1", "talk-3 talk-1 1"]);
    const replies = await one.requestMany({ capability: "talk.some" }, "who", 0);
    expect(replies.map(({ body }) => String(body)).sort()).toEqual(["talk-2", "talk-3"]);
    const first = await one.requestMany({ everyone: true }, "who", 0, { until: "first" });
    expect(first).toHaveLength(1);
    const counted: unknown[] = [];
    for await (const part of one.requestStream(two.agentId, "count", 5)) counted.push(part);
    expect(counted).toEqual([1, 2, 3, 4, 5]);
    // More than the router would queue for a reader that is slower than its asker.
    let last = 0;
    for await (const part of one.requestStream(two.agentId, "count", 3_000)) {
      expect(part).toBe(last + 1);
      last += 1;
      if (last % 100 === 0) await new Promise(setImmediate);
    }
    expect(last).toBe(3_000);
    await expect(one.request(two.agentId, "count", 5)).rejects.toMatchObject({
      reason: "REPLY_IN_PARTS",
    });
    const parts = one.requestMany({ capability: "talk.some" }, "count", 5);
    await expect(parts).rejects.toMatchObject({ reason: "MESSAGE_REFUSED" });
    const abort = new AbortController();
    const slow = three.request(two.agentId, "slow", 0, { signal: abort.signal });
    setImmediate(() => abort.abort());
    await expect(slow).rejects.toMatchObject({ reason: "CANCELLED" });
    const late = three.request(two.agentId, "slow", 0, { timeoutMs: 300 });
    await expect(late).rejects.toMatchObject({ reason: "MESSAGE_EXPIRED" });
    await waitFor(() => stopped !== undefined, { what: "the handler to be told" });
    await expect(three.request(two.agentId, "loop", 0)).rejects.toMatchObject({
      reason: "HANDLER_FAILED",
      details: { metadata: { failure_reason: "MESSAGE_LOOP" } },
    });
    await expect(three.request(two.agentId, "unheard of", 0)).rejects.toMatchObject({
      kind: "not_found",
      reason: "NO_HANDLER",
    });
    const cut: unknown[] = [];
    const breaking = async () => {
      for await (const part of three.requestStream(two.agentId, "break", 0)) cut.push(part);
    };
    await expect(breaking()).rejects.toMatchObject({
      reason: "HANDLER_FAILED",
      message: "It is broken.",
      details: { metadata: { failure_reason: "BROKEN" } },
    });
    expect(cut).toEqual([1, 2]);
    const jobId = await submitTasks(user.client, [{ key: "say", capability: "talk.some" }]);
    expect((await waitForEnd(user.client, jobId)).state).toBe(JobState.COMPLETED);
    await waitFor(() => seen.some((line) => line.endsWith(" 7")), { what: "the task's message" });
  }, 60_000);

  it("answer a caller that holds no session", async () => {
    const { createAgent, fromPayload, toPayload } = await import("@nexus/sdk");
    const identity = await fleet.createAgentIdentity("oracle");
    const oracle = await createAgent({ ...identity, gateway: fleet.stack.info.gateway })
      .capability("oracle.none@1.0.0", {}, () => null)
      .onMessage("question", ({ body, from }) => ({ answer: 42, body, from }))
      .start();
    const { outcome, reply } = await user.client.messaging.callAgent({
      toAgentId: "oracle",
      subject: "question",
      payload: toPayload({ ask: "everything" }),
    });
    expect(outcome?.outcome).toBe(1);
    expect(fromPayload(reply)).toEqual({
      answer: 42,
      body: { ask: "everything" },
      from: user.principalId,
    });
    await oracle.drain(0);
  });
});
