import { create, createFileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { AgentSessionService } from "@nexus/proto/mesh";
import { AuthService } from "@nexus/proto/vault";
import { createLogger } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createRpcClient, requirePrincipal } from "../src/index.ts";
import { authHandlers, sessionHandlers } from "./_handlers.ts";
import { startRig } from "./_harness.ts";
import { until } from "./_wait.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };

describe("a server", () => {
  it("refuses to start with a method that names no scope", async () => {
    const desc = serviceWithoutScope();
    const start = startRig((server) => server.add(desc, { poke: async () => ({}) } as never));
    await expect(start).rejects.toThrow("/test.v1.BareService/Poke has no");
  });

  it("refuses to start with a handler missing", async () => {
    const start = startRig((server) => server.add(AuthService, {} as never));
    await expect(start).rejects.toThrow("nexus.vault.v1.AuthService.Login has no handler");
  });

  it("takes no services once it listens", async () => {
    const rig = await startRig((server) => server.add(AuthService, authHandlers({})));
    expect(() => rig.server.add(AuthService, authHandlers({}))).toThrow("before listen()");
    await rig.close();
  });

  it("keeps the handlers' own `this`", async () => {
    const handlers = { ...authHandlers({}), name: "me", login };
    async function login(this: { name: string }) {
      return { tokens: { accessToken: this.name } };
    }
    const rig = await startRig((server) => server.add(AuthService, handlers));
    const client = createRpcClient(AuthService, rig.channel);
    expect((await client.login(CREDENTIALS)).tokens?.accessToken).toBe("me");
    await rig.close();
  });

  it("logs calls without payload or token, with method and principal", async () => {
    const lines: string[] = [];
    const logger = createLogger({
      service: "vault",
      level: "debug",
      destination: { write: (line: string) => void lines.push(line) },
    });
    const handlers = authHandlers({
      whoAmI: async (_request, ctx) => ({ tokenId: requirePrincipal(ctx).tokenId }),
    });
    const rig = await startRig((server) => server.add(AuthService, handlers), { logger });
    const client = createRpcClient(AuthService, rig.channel);
    const token = rig.verifier.token("ann");
    await client.whoAmI({}, { token });
    await client.login({ principalId: "ann", password: "hunter2" }).catch(() => undefined);
    await until("two lines", () => lines.length >= 2);
    expect(lines[0]).toContain('"method":"/nexus.vault.v1.AuthService/WhoAmI"');
    expect(lines[0]).toContain('"principal_id":"ann"');
    expect(lines.join("")).not.toMatch(/hunter2|token-0/);
    await rig.close();
  });

  it("measures calls by method and outcome", async () => {
    const rig = await startRig((server) =>
      server.add(AuthService, authHandlers({ login: async () => ({}) })),
    );
    const client = createRpcClient(AuthService, rig.channel);
    await client.login(CREDENTIALS);
    await client.whoAmI({}).catch(() => undefined);
    const text = await rig.metrics.text();
    expect(text).toContain(
      'nexus_vault_rpc_duration_seconds_count{method="nexus.vault.v1.AuthService/Login",code="ok"} 1',
    );
    expect(text).toContain(
      'nexus_vault_rpc_duration_seconds_count{method="nexus.vault.v1.AuthService/WhoAmI",code="unauthenticated"} 1',
    );
    expect(text).toContain("nexus_vault_rpc_in_flight 0");
    await rig.close();
  });

  it("leaves the rules of a method unchecked when told so, but decodes", async () => {
    const seen: (number | undefined)[] = [];
    const handlers = sessionHandlers(async function* (requests) {
      for await (const { heartbeat } of requests) seen.push(heartbeat?.busySlots);
      yield {};
    });
    const rig = await startRig((server) =>
      server.add(AgentSessionService, handlers, { unchecked: ["connect"] }),
    );
    const client = createRpcClient(AgentSessionService, rig.channel);
    const requests = (async function* () {
      yield { heartbeat: { busySlots: 5_000 } };
    })();
    const token = rig.verifier.token("ann");
    for await (const _ of client.connect(requests, { token })) break;
    expect(seen).toEqual([5_000]);
    await rig.close();
  });
});

/** A contract with one method and no options, as a forgetful author would write it. */
function serviceWithoutScope() {
  const set = create(FileDescriptorSetSchema, {
    file: [
      {
        name: "test/v1/bare_service.proto",
        package: "test.v1",
        syntax: "proto3",
        messageType: [{ name: "PokeRequest" }, { name: "PokeResponse" }],
        service: [
          {
            name: "BareService",
            method: [
              {
                name: "Poke",
                inputType: ".test.v1.PokeRequest",
                outputType: ".test.v1.PokeResponse",
              },
            ],
          },
        ],
      },
    ],
  });
  const desc = createFileRegistry(set).getService("test.v1.BareService");
  if (desc === undefined) throw new Error("The descriptor has no service.");
  return desc;
}
