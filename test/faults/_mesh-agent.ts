/** An agent of a campaign that lives in the test's own process and does nothing by itself. */
import { createRpcChannel, type RpcChannel } from "@nexus/rpc";
import { TestAgent } from "../../services/mesh-router/test/_agent.ts";
import type { MeshBed } from "./_mesh-bed.ts";

const BEAT_MS = 400;
const CREDIT = 100;

/** Connects one at an address and waits for its welcome; it beats until its stream ends. */
export async function connectAgent(
  bed: MeshBed,
  agentId: string,
  at: { readonly address: string; readonly resumeToken?: string; readonly helloAs?: string },
): Promise<TestAgent> {
  const channel: RpcChannel = createRpcChannel({ address: at.address });
  const token = await bed.identity.token({ sub: agentId, kind: "agent" });
  const agent = new TestAgent(channel, token);
  agent.agentId = agentId;
  const { resumeToken = "", helloAs = agentId } = at;
  const hello = { agentId: helloAs, slots: 1, messageCredit: CREDIT, resumeToken };
  agent.send({ hello });
  const beat = setInterval(() => agent.send({ heartbeat: { busySlots: 0 } }), BEAT_MS);
  void agent.peer
    .untilEnded()
    .catch(() => undefined)
    .finally(() => {
      clearInterval(beat);
      channel.close();
    });
  await agent.welcomed();
  return agent;
}
