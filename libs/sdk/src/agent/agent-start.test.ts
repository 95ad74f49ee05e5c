import { AgentSessionService } from "@nexus/proto/mesh";
import { RegistryService } from "@nexus/proto/registry";
import {
  createRpcServer,
  type Principal,
  type RpcServer,
  type RpcServerOptions,
  type ServiceImplementation,
} from "@nexus/rpc";
import { createSilentLogger, type Namespace } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAgent } from "./agent.ts";

const PRINCIPAL: Principal = {
  namespace: "default" as Namespace,
  principalId: "a",
  kind: "agent",
  scopes: ["*"],
  tokenId: "t",
  familyId: "f",
  issuedAtMs: 0,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
};

const metric = { inc: () => undefined, dec: () => undefined, observe: () => undefined };
const UNCOUNTED = {
  counter: () => metric,
  gauge: () => metric,
  histogram: () => metric,
} as unknown as RpcServerOptions["metrics"];

let server: RpcServer;
let gateway: string;
let opened = 0;
let open = 0;
const goodbyes: string[] = [];

/** Lets every agent in and refuses what it subscribes to. */
const sessions: ServiceImplementation<typeof AgentSessionService> = {
  async *connect(requests) {
    opened += 1;
    open += 1;
    try {
      for await (const { hello, subscribes, goodbye } of requests) {
        if (hello !== undefined) yield { welcome: { sessionId: "s", epoch: 1n } };
        const subscriptionResults = subscribes.map(({ pattern, group }) => {
          return { pattern, group, reason: "SUBSCRIPTION_LIMIT" };
        });
        if (subscriptionResults.length > 0) yield { subscriptionResults };
        if (goodbye !== undefined) {
          goodbyes.push(goodbye.reason);
          return;
        }
      }
    } finally {
      open -= 1;
    }
  },
};

beforeEach(async () => {
  server = createRpcServer({
    service: "gateway",
    host: "127.0.0.1",
    port: 0,
    logger: createSilentLogger(),
    metrics: UNCOUNTED,
    verifier: { verify: async () => PRINCIPAL, onRevoked: () => () => undefined },
  });
  // Registering is all that an agent asks of it.
  const registry = new Proxy({}, { get: () => () => ({}) });
  server.add(RegistryService, registry as unknown as ServiceImplementation<typeof RegistryService>);
  server.add(AgentSessionService, sessions);
  gateway = (await server.listen()).address;
});

afterEach(() => server.close(200));

describe("an agent whose start fails", () => {
  it("leaves the session that it had opened, and opens no other", async () => {
    const agent = createAgent({
      agentId: "a",
      gateway,
      accessToken: "token",
      logger: createSilentLogger(),
    })
      .capability("text.upper@1.0.0", {}, () => "")
      .subscribe("news.*", () => undefined);
    await expect(agent.start()).rejects.toMatchObject({ reason: "SUBSCRIPTION_LIMIT" });
    await waitFor(() => open === 0, { what: "the session's end" });
    expect(opened).toBe(1);
    expect(goodbyes).toHaveLength(1);
  });
});
