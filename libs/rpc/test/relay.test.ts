import { AgentSessionService } from "@nexus/proto/mesh";
import { createAsyncQueue, createSilentLogger } from "@nexus/shared";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createRpcClient, createRpcServer, type RawRelay } from "../src/index.ts";
import { LocalVerifier, type Rig, startRig } from "./_harness.ts";
import { until } from "./_wait.ts";

const rigs: Rig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close();
});

/** Connect is the contract's only method, and its requests stream. */
const echo: RawRelay = ({ requests }) => requests as AsyncIterable<Buffer>;

/** A server that sends every byte back. */
async function startEcho(how: "addRaw" | "addRelay" = "addRelay"): Promise<Rig> {
  const rig = await startRig((server) => server[how](AgentSessionService, echo));
  rigs.push(rig);
  return rig;
}

describe("a relayed stream", () => {
  it("outlives the token it began with: the owner of the contract guards it", async () => {
    const rig = await startEcho();
    const token = rig.verifier.token("ann", ["*"], 150);
    const endsAtMs = Date.now() + 150;
    const requests = createAsyncQueue<object>({ max: 8 });
    const client = createRpcClient(AgentSessionService, rig.channel);
    const responses = client.connect(requests, { token })[Symbol.asyncIterator]();
    requests.push({});
    expect((await responses.next()).done).toBe(false);
    expect(rig.verifier.listening).toBe(0);
    await until("the token to end", () => Date.now() > endsAtMs + 50);
    rig.verifier.revoke(token);
    requests.push({});
    expect((await responses.next()).done).toBe(false);
    requests.end();
    expect((await responses.next()).done).toBe(true);
  });

  it("still needs a token to begin", async () => {
    const rig = await startEcho();
    const client = createRpcClient(AgentSessionService, rig.channel);
    const refused = client.connect(createAsyncQueue<object>({ max: 1 }), { token: "forged" });
    await expect(refused[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      reason: "TOKEN_INVALID",
    });
  });
});

describe("a raw stream of the server's own", () => {
  it("ends with its token, like every stream", async () => {
    const rig = await startEcho("addRaw");
    const token = rig.verifier.token("ann");
    const requests = createAsyncQueue<object>({ max: 8 });
    const client = createRpcClient(AgentSessionService, rig.channel);
    const responses = client.connect(requests, { token })[Symbol.asyncIterator]();
    requests.push({});
    await responses.next();
    rig.verifier.revoke(token);
    await expect(responses.next()).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
  });
});

describe("a port that is taken", () => {
  it("is reported by the rejection alone: the transport prints nothing", async () => {
    const printed = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { address, metrics } = await startEcho();
    const server = createRpcServer({
      service: "vault",
      host: "127.0.0.1",
      port: Number(address.split(":")[1]),
      logger: createSilentLogger(),
      metrics,
      verifier: new LocalVerifier(),
    });
    await expect(server.listen()).rejects.toThrow("EADDRINUSE");
    expect(printed.mock.calls).toEqual([]);
    printed.mockRestore();
  });
});
