/** A whole stack with mutual TLS: what works over it, who is kept out, and certificates that are renewed while it works. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { LeaseService } from "@nexus/proto/orchestrator";
import { RegistryService } from "@nexus/proto/registry";
import { AuthService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, fixedTls, type TlsOptions } from "@nexus/rpc";
import { JobState } from "@nexus/sdk";
import { createTestAuthority } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { metricsOf, readAlertRules } from "../_manifests.ts";
import { command, ROOT } from "./_command.ts";
import { startFleet, submitTasks, type TestFleet, type TestUser, waitForEnd } from "./_fleet.ts";

const trustDomain = "nexus.local";
/** Renewed at two thirds, so within this file; the last third is for a slow machine. */
const CERTIFICATE_TTL_MS = 20_000;
/** Connections end so soon that new certificates are used by many. */
const CONNECTION_AGE_MS = 1_000;
const SERVICES = ["registry", "orchestrator", "mesh-router", "vault", "insight"] as const;

let fleet: TestFleet;
let user: TestUser;
let home: string;
/** What the ports showed first, by service. */
let first: readonly string[];

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "nexus-tls-"));
  fleet = await startFleet({
    tls: true,
    env: (_name, own) => {
      const prefix = Object.keys(own).find((name) => name.endsWith("_GRPC_PORT")) ?? "";
      return {
        NEXUS_VAULT_CERTIFICATE_TTL_MS: String(CERTIFICATE_TTL_MS),
        [prefix.replace("GRPC_PORT", "MAX_CONNECTION_AGE_MS")]: String(CONNECTION_AGE_MS),
      };
    },
  });
  first = await serials();
  user = await fleet.createUser();
  await fleet.startAgent("echo-1");
}, 120_000);

afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
}, 60_000);

function ca(): Buffer {
  return readFileSync(fleet.stack.info.caFile ?? "");
}

/** What a service would show, had somebody its files. */
function filesOf(service: string) {
  const folder = join(fleet.stack.info.dataDir, "tls", service);
  return {
    cert: readFileSync(join(folder, "tls.crt")),
    key: readFileSync(join(folder, "tls.key")),
    ca: ca(),
  };
}

/** The reason by which a public call of a service is refused, called around the gateway. */
async function refusalAt(service: (typeof SERVICES)[number] | "gateway", tls?: TlsOptions) {
  const { grpc: address } = fleet.stack.info.services[service];
  const channel = createRpcChannel(tls === undefined ? { address } : { address, tls });
  try {
    await createRpcClient(AuthService, channel, { timeoutMs: 5_000 }).getJwks({});
    return "none";
  } catch (error) {
    return (error as { reason: string }).reason;
  } finally {
    channel.close();
  }
}

/** The serial numbers of the certificates that the ports show now. */
function serials(): Promise<string[]> {
  const { info } = fleet.stack;
  return Promise.all(
    ["gateway" as const, ...SERVICES].map((name) => serialAt(info.services[name].grpc)),
  );
}

function serialAt(address: string): Promise<string> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const options = { host, port: Number(port), ca: ca(), checkServerIdentity: () => undefined };
    const socket = connect(options, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

describe("a stack with mutual TLS", () => {
  it("runs a job from a user's client through every service to an agent and back", async () => {
    const jobId = await submitTasks(user.client, [
      { key: "a", capability: "work.echo" },
      { key: "b", capability: "work.echo" },
    ]);
    expect((await waitForEnd(user.client, jobId)).state).toBe(JobState.COMPLETED);
  });

  it("is used by the command, which remembers whom the login trusted", async () => {
    const env = { NEXUS_CONFIG_DIR: home, NEXUS_GATEWAY: fleet.stack.info.gateway };
    const nexus = (...args: string[]) =>
      command(process.execPath, [join(ROOT, "apps/cli/bin/nexus.js"), ...args], { env });
    const file = fleet.stack.info.adminCredentialsFile;
    expect((await nexus("login", "--credentials-file", file)).code).toBe(0);
    const bundle = await nexus("ca", "bundle");
    expect(bundle.stdout).toBe(ca().toString());
    const stranger = join(home, "stranger.crt");
    expect((await nexus("--ca-file", stranger, "status")).stderr).toContain("CA_FILE_UNREADABLE");
  });

  it("speaks HTTPS on the HTTP port", async () => {
    const body = await new Promise<string>((resolve, reject) => {
      const url = `${fleet.stack.info.http}/.well-known/jwks.json`;
      request(url, { ca: ca() }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => resolve(text));
      })
        .on("error", reject)
        .end();
    });
    expect(JSON.parse(body)).toMatchObject({ keys: expect.any(Array) });
  });

  it("refuses plaintext, and certificates of another authority, on every port", async () => {
    const stranger = await createTestAuthority();
    const pair = await stranger.issue({ service: "gateway" });
    for (const service of ["gateway", ...SERVICES] as const) {
      expect([service, await refusalAt(service)]).toEqual([service, "UNAVAILABLE"]);
      const trusting = fixedTls({ ca: stranger.ca });
      expect([service, await refusalAt(service, trusting)]).toEqual([service, "UNAVAILABLE"]);
      if (service === "gateway") continue;
      const posing = fixedTls({ ...pair, ca: ca() }, { peer: service, trustDomain });
      // Vault does not end the handshake: services come to it without a certificate for their first.
      const refusal = service === "vault" ? "PEER_UNKNOWN" : "UNAVAILABLE";
      expect([service, await refusalAt(service, posing)]).toEqual([service, refusal]);
    }
  });

  it("refuses a service what the contract does not let it call, with any token", async () => {
    const token = (await fleet.admin.credentials?.token()) ?? "";
    const { grpc: address } = fleet.stack.info.services.orchestrator;
    const check = async (as: string) => {
      const tls = fixedTls(filesOf(as), { peer: "orchestrator", trustDomain });
      const channel = createRpcChannel({ address, tls });
      try {
        await createRpcClient(LeaseService, channel).check({}, { token });
        return "ok";
      } catch (error) {
        return (error as { reason: string }).reason;
      } finally {
        channel.close();
      }
    };
    expect(await check("insight")).toBe("CALLER_NOT_ALLOWED");
    expect(await check("gateway")).toBe("CALLER_NOT_ALLOWED");
    // May call, and now has to say with a service's token who it is.
    expect(await check("mesh-router")).toBe("SERVICE_ONLY");
  });

  it("is not taken for another service by its own", async () => {
    const { grpc: address } = fleet.stack.info.services.insight;
    const tls = fixedTls(filesOf("gateway"), { peer: "registry", trustDomain });
    const channel = createRpcChannel({ address, tls });
    const call = createRpcClient(RegistryService, channel, { timeoutMs: 3_000 }).listAgents({});
    await expect(call).rejects.toMatchObject({ kind: "unavailable" });
    channel.close();
  });

  it("renews every certificate under load, and no call fails", async () => {
    let calls = 0;
    let jobs = 0;
    let stop = false;
    const reading = async () => {
      while (!stop) {
        await user.client.registry.listAgents({});
        calls += 1;
      }
    };
    const working = async () => {
      while (!stop) {
        const jobId = await submitTasks(user.client, [{ key: "a", capability: "work.echo" }]);
        expect((await waitForEnd(user.client, jobId)).state).toBe(JobState.COMPLETED);
        jobs += 1;
      }
    };
    const load = Promise.all([reading(), reading(), working()]);
    const renewed = async () => {
      const giveUpAt = performance.now() + 60_000;
      for (;;) {
        const now = await serials();
        if (now.every((serial, index) => serial !== first[index])) return;
        if (performance.now() > giveUpAt) throw new Error("Not every certificate was renewed.");
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    };
    try {
      await Promise.race([renewed(), load]);
      // Connections made with the certificates of before have all ended by then.
      const until = calls + 200;
      const enough = async () => {
        while (calls < until) await user.client.registry.listAgents({});
      };
      await Promise.race([enough(), load]);
    } finally {
      stop = true;
    }
    await load;
    expect(calls).toBeGreaterThan(200);
    expect(jobs).toBeGreaterThan(0);
  }, 90_000);

  it("exposes every metric that the alert rules for Kubernetes read", async () => {
    const exposed = new Set<string>();
    for (const { ops } of Object.values(fleet.stack.info.services)) {
      const text = await (await fetch(`${ops}/metrics`)).text();
      for (const [, name = ""] of text.matchAll(/^# TYPE (\S+) /gm)) exposed.add(name);
    }
    const read = readAlertRules().flatMap(metricsOf);
    expect(read.length).toBeGreaterThan(20);
    expect(read.filter((name) => !exposed.has(name))).toEqual([]);
  });
});
