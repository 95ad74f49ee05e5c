import { randomUUID } from "node:crypto";
import { StatePolicy, StateService } from "@nexus/proto/mesh";
import { createRpcClient } from "@nexus/rpc";
import { TcpProxy, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeName, type TestAgent } from "../../services/mesh-router/test/_agent.ts";
import { connectAgent } from "./_mesh-agent.ts";
import { MeshBed, type ReplicaName } from "./_mesh-bed.ts";
import { StateFollower } from "./_state-follower.ts";
import { MESH_CAMPAIGNS } from "./campaigns.ts";

const PATIENCE_MS = 30_000;
let bed: MeshBed;

beforeAll(async () => {
  bed = await MeshBed.open();
}, 120_000);

afterAll(async () => {
  await bed[Symbol.asyncDispose]();
}, 60_000);

const tag = () => randomUUID().slice(0, 8);

const agentAt = (replica: ReplicaName, agentId: string, resumeToken = "") =>
  connectAgent(bed, agentId, { address: bed.addressOf(replica), resumeToken });

async function untilMail(receiver: TestAgent, ids: readonly string[]): Promise<void> {
  await waitFor(() => receiver.mailIds.length >= ids.length, {
    what: `${ids.length} messages`,
    timeoutMs: PATIENCE_MS,
  });
  expect(receiver.mailIds).toEqual(ids);
}

/** How many messages wait for an agent. */
async function mailOf(agentId: string): Promise<number> {
  const { rows } = await bed.tables.query<{ count: number }>(
    "SELECT count(*)::int AS count FROM mail JOIN mailboxes USING (mailbox_id) WHERE agent_id = $1",
    [agentId],
  );
  return rows[0]?.count ?? -1;
}

describe("three mesh-routers keep their promises", () => {
  it.for(MESH_CAMPAIGNS.map((campaign) => [campaign.name, campaign] as const))(
    "under %s",
    { timeout: 300_000 },
    async ([, campaign], { annotate }) => {
      const lines: string[] = [];
      const durationMs = campaign.shortMs;
      const progress = (text: string) => void lines.push(text);
      const verdict = await campaign.playOnMesh(bed, { durationMs, seed: 1, progress });
      await annotate(JSON.stringify(verdict.counts));
      expect(verdict.problems, lines.join("\n")).toEqual([]);
    },
  );
});

describe("agents in a conversation", () => {
  it("cannot send a message back to who caused it, at another replica either", async () => {
    const t = tag();
    const a = await agentAt("replica-0", `a-${t}`);
    const b = await agentAt("replica-1", `b-${t}`);
    a.post("m1", b.agentId);
    a.mail("m2", b.agentId);
    const back: string[] = [];
    for (const { chain, fromPrincipalId } of [await b.delivery(0), await b.delivery(1)]) {
      // What a receiver passes on, as the contract says: the chain as it came, or one hop from the sender.
      const caused = { chain: chain ?? { hops: 1, ancestors: [fromPrincipalId] } };
      for (const send of ["post", "mail"] as const) {
        const id = `back-${back.length}`;
        b[send](id, a.agentId, caused);
        back.push(outcomeName(await b.outcomeOf(id)));
      }
    }
    expect(back).toEqual(["LOOP", "LOOP", "LOOP", "LOOP"]);
    expect(a.deliveries).toEqual([]);
    for (const agent of [a, b]) agent.peer.break();
  });

  it("cannot be somebody else, for the gateway or for the receiver", async () => {
    const t = tag();
    const address = bed.gatewayAddress;
    const honest = await connectAgent(bed, `honest-${t}`, { address });
    const spoof = connectAgent(bed, `spoof-${t}`, { address, helloAs: honest.agentId });
    await expect(spoof).rejects.toMatchObject({ reason: "AGENT_ID_MISMATCH" });
    const sender = await connectAgent(bed, `sender-${t}`, { address });
    sender.post("m1", honest.agentId, { chain: { hops: 1, ancestors: ["somebody"] } });
    const { fromPrincipalId, chain } = await honest.delivery();
    expect([fromPrincipalId, chain?.ancestors]).toEqual([
      sender.agentId,
      ["somebody", sender.agentId],
    ]);
    for (const agent of [honest, sender]) agent.peer.break();
  });
});

describe("between a stream that is lost and the next one", () => {
  it("a message whose answer was lost is sent again and stored once", async () => {
    const t = tag();
    const proxy = await TcpProxy.listen();
    proxy.aim(Number(new URL(`http://${bed.addressOf("replica-0")}`).port));
    const address = `127.0.0.1:${proxy.port}`;
    const receiver = await agentAt("replica-1", `receiver-${t}`);
    receiver.autoAck = true;
    const before = await connectAgent(bed, `sender-${t}`, { address });
    proxy.mute();
    before.mail("m1", receiver.agentId);
    await untilMail(receiver, ["m1"]);
    expect(before.outcomes).toEqual([]);
    proxy.cut();
    await before.peer.untilEnded();
    const after = await agentAt("replica-2", `sender-${t}`, before.resumeToken);
    after.mail("m1", receiver.agentId);
    after.mail("m2", receiver.agentId);
    const outcome = await after.outcomeOf("m1");
    expect([outcomeName(outcome), outcome.duplicate]).toEqual(["QUEUED", true]);
    await untilMail(receiver, ["m1", "m2"]);
    for (const agent of [after, receiver]) agent.peer.break();
    await proxy.close();
  });

  it("an agent whose router is killed goes on at the message behind the last one that it acknowledged", async () => {
    const t = tag();
    const sender = await agentAt("replica-0", `sender-${t}`);
    const before = await agentAt("replica-1", `receiver-${t}`);
    for (const id of ["m1", "m2", "m3", "m4", "m5"]) sender.mail(id, before.agentId);
    await untilMail(before, ["m1", "m2", "m3", "m4", "m5"]);
    for (const { deliveryId } of before.deliveries.slice(0, 3)) before.ack(deliveryId);
    await waitFor(async () => (await mailOf(before.agentId)) === 2, { what: "three acknowledged" });
    await bed.kill("replica-1");
    await before.peer.untilEnded();
    const after = await agentAt("replica-2", before.agentId, before.resumeToken);
    after.autoAck = true;
    sender.mail("m6", after.agentId);
    await untilMail(after, ["m4", "m5", "m6"]);
    await bed.startReplica("replica-1");
    for (const agent of [after, sender]) agent.peer.break();
  });

  it("a watch whose router is killed goes on at the change behind the last one that it was told", async () => {
    const tokens = bed.identity.tokens({ sub: `user-${tag()}` });
    const [here, there] = (["replica-0", "replica-1"] as const).map((replica) =>
      createRpcClient(StateService, bed.channelTo(replica), { tokens }),
    );
    if (here === undefined || there === undefined) throw new Error("two clients");
    const bucket = `watched-${tag()}`;
    await here.createBucket({ requestId: bucket, bucket, policy: StatePolicy.COUNTER });
    const add = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += 1) {
        await here.incrementEntry({
          requestId: randomUUID(),
          bucket,
          key: "k",
          increment: { delta: 1n },
        });
      }
    };
    const follower = new StateFollower(there, bucket);
    // A first look that comes late is told the sum before it is told of what revision that is.
    const isAt = (sum: bigint) =>
      follower.revision > 0n && follower.entries.get("k")?.counter === sum;
    const untilSum = (sum: bigint) =>
      waitFor(() => isAt(sum), { what: `a sum of ${sum}`, timeoutMs: PATIENCE_MS });
    await add(5);
    await untilSum(5n);
    const known = follower.revision;
    await bed.kill("replica-1");
    await add(5);
    await bed.startReplica("replica-1");
    await untilSum(10n);
    await add(1);
    await untilSum(11n);
    expect([follower.gaps, follower.resyncs, follower.revision]).toEqual([[], 0, known + 6n]);
    await follower.stop();
  });
});
