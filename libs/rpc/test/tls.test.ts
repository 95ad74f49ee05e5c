import { connect } from "node:tls";
import { DispatchService } from "@nexus/proto/mesh";
import { AuthService, PrincipalService } from "@nexus/proto/vault";
import { createTestAuthority, type KeyPair, type TestAuthority } from "@nexus/testkit";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type CallContext,
  CLIENT_ADDRESS_HEADER,
  createRpcChannel,
  createRpcClient,
  fixedTls,
  type RpcChannel,
  type RpcServer,
  type TlsMaterial,
  type TlsOptions,
  type TlsSource,
} from "../src/index.ts";
import { authHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const trustDomain = "nexus.local";

let authority: TestAuthority;
let vault: KeyPair;
const rigs: Rig[] = [];
/** Where calls of GetJwks came from. */
const peers: string[] = [];
const channels: RpcChannel[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  vault = await authority.issue({ service: "vault" });
});

afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  for (const rig of rigs.splice(0)) await rig.close();
});

/** A vault's contracts, and one internal one that only the orchestrator may call. */
function addContracts(server: RpcServer): void {
  const getJwks = async (_request: unknown, { peer }: CallContext) => {
    peers.push(peer);
    return {};
  };
  server.add(AuthService, authHandlers({ login: async () => ({}), getJwks }));
  const empty = async () => ({});
  server.add(PrincipalService, new Proxy({}, { get: () => empty }) as never);
  server.add(DispatchService, { dispatch: nothing });
}

async function start(tls: TlsOptions, limits = {}): Promise<Rig> {
  const rig = await startRig(addContracts, { tls, limits });
  rigs.push(rig);
  return rig;
}

function open(rig: Rig, tls: TlsOptions): RpcChannel {
  const channel = createRpcChannel({ address: rig.address, tls });
  channels.push(channel);
  return channel;
}

function mutual(clientCertificates: TlsOptions["clientCertificates"] = "required"): TlsOptions {
  return fixedTls({ ...vault, ca: authority.ca }, { clientCertificates, trustDomain });
}

function login(channel: RpcChannel) {
  return createRpcClient(AuthService, channel, { timeoutMs: 5_000 }).login(CREDENTIALS);
}

async function channelAs(rig: Rig, service: string): Promise<RpcChannel> {
  const pair = await authority.issue({ service });
  return open(rig, fixedTls({ ...pair, ca: authority.ca }, { peer: "vault", trustDomain }));
}

const away = { kind: "unavailable" };

async function* nothing() {}

describe("a server with a certificate", () => {
  it("serves a client that trusts its authority, and no plaintext one", async () => {
    const rig = await start(fixedTls(vault));
    await login(open(rig, fixedTls({ ca: authority.ca })));
    await expect(login(rig.channel)).rejects.toMatchObject(away);
    const other = await createTestAuthority();
    await expect(login(open(rig, fixedTls({ ca: other.ca })))).rejects.toMatchObject(away);
  });

  it("speaks no version before TLS 1.3", async () => {
    const rig = await start(fixedTls(vault));
    const [host, port] = rig.address.split(":");
    const refused = new Promise((resolve, reject) => {
      const options = {
        host,
        port: Number(port),
        ca: authority.ca,
        maxVersion: "TLSv1.2",
      } as const;
      connect(options, () => reject(new Error("connected"))).on("error", resolve);
    });
    expect(await refused).toMatchObject({ code: expect.stringMatching(/PROTOCOL_VERSION/) });
  });

  it("is taken only for the host, or for the service, that its certificate names", async () => {
    const rig = await start(fixedTls(vault));
    const meant = (peer: string, domain = trustDomain) =>
      login(open(rig, fixedTls({ ca: authority.ca }, { peer, trustDomain: domain })));
    await meant("vault");
    await expect(meant("registry")).rejects.toMatchObject(away);
    await expect(meant("vault", "elsewhere.example")).rejects.toMatchObject(away);
    const nameless = await start(fixedTls(await authority.issue()));
    const channel = fixedTls({ ca: authority.ca }, { peer: "vault", trustDomain });
    await expect(login(open(nameless, channel))).rejects.toMatchObject(away);
  });

  it("needs both halves of a pair, and an authority to hold clients against", async () => {
    expect(() => fixedTls({ key: vault.key })).toThrow("go together");
    await expect(start(fixedTls({ ca: authority.ca }))).rejects.toThrow("both a certificate");
    const asking = fixedTls(vault, { clientCertificates: "required", trustDomain });
    await expect(start(asking)).rejects.toThrow("only with the CA");
    const anybody = fixedTls({ ...vault, ca: authority.ca }, { clientCertificates: "required" });
    await expect(start(anybody)).rejects.toThrow("together with a trust domain");
  });
});

describe("a server behind the edge", () => {
  it("ends the handshake without a good certificate", async () => {
    const rig = await start(mutual());
    const { ca } = authority;
    await expect(login(open(rig, fixedTls({ ca })))).rejects.toMatchObject(away);
    const stranger = await (await createTestAuthority()).issue({ service: "gateway" });
    await expect(login(open(rig, fixedTls({ ...stranger, ca })))).rejects.toMatchObject(away);
    const late = await authority.issue({ service: "gateway", lifeMs: -1_000 });
    await expect(login(open(rig, fixedTls({ ...late, ca })))).rejects.toMatchObject(away);
  });

  it("lets only those call that the contract names, whatever their token allows", async () => {
    const rig = await start(mutual());
    const token = rig.verifier.token("ops");
    const call = async (service: string) => {
      const channel = await channelAs(rig, service);
      const outcomes = await Promise.allSettled([
        login(channel),
        createRpcClient(AuthService, channel).getJwks({}),
        createRpcClient(PrincipalService, channel).listPrincipals({}, { token }),
      ]);
      return outcomes.map((one) => (one.status === "fulfilled" ? "ok" : one.reason.reason));
    };
    const no = "CALLER_NOT_ALLOWED";
    expect(await call("gateway")).toEqual(["ok", "ok", "ok"]);
    expect(await call("vault")).toEqual(["ok", "ok", "ok"]);
    expect(await call("registry")).toEqual([no, "ok", no]);
    expect(await call("billing")).toEqual([no, no, no]);
  });

  it("opens an internal contract to nobody that is not listed, the gateway included", async () => {
    const rig = await start(mutual());
    const dispatch = async (service: string) => {
      const client = createRpcClient(DispatchService, await channelAs(rig, service));
      try {
        const answers = client.dispatch(nothing(), { token: rig.verifier.token("ops") });
        for await (const _ of answers);
        return "ok";
      } catch (error) {
        return (error as { reason: string }).reason;
      }
    };
    expect(await dispatch("gateway")).toBe("CALLER_NOT_ALLOWED");
    expect(await dispatch("vault")).toBe("CALLER_NOT_ALLOWED");
    // The next question is who the token speaks for.
    expect(await dispatch("orchestrator")).toBe("SERVICE_ONLY");
  });

  it("believes the gateway and its own replicas alone where a call came from, and what is an address alone", async () => {
    const rig = await start(mutual());
    const seen = async (service: string, address: string) => {
      const metadata = { [CLIENT_ADDRESS_HEADER]: address };
      await createRpcClient(AuthService, await channelAs(rig, service)).getJwks({}, { metadata });
      return peers.at(-1);
    };
    const own = expect.stringMatching(/^127\.0\.0\.1:\d+$/);
    expect(await seen("gateway", "203.0.113.7:50000")).toBe("203.0.113.7:50000");
    expect(await seen("gateway", "2001:db8::7")).toBe("2001:db8::7");
    expect(await seen("gateway", "not an address")).toEqual(own);
    expect(await seen("gateway", "1".repeat(65))).toEqual(own);
    expect(await seen("vault", "203.0.113.7:50000")).toBe("203.0.113.7:50000");
    expect(await seen("registry", "203.0.113.7:50000")).toEqual(own);
    const plain = await startRig(addContracts, {});
    rigs.push(plain);
    const metadata = { [CLIENT_ADDRESS_HEADER]: "203.0.113.7:50000" };
    await createRpcClient(AuthService, plain.channel).getJwks({}, { metadata });
    expect(peers.at(-1)).toEqual(own);
  });

  it("takes no service of another trust domain", async () => {
    const rig = await start(mutual());
    const pair = await authority.issue({ service: "gateway", trustDomain: "other.example" });
    const channel = open(rig, fixedTls({ ...pair, ca: authority.ca }));
    await expect(login(channel)).rejects.toMatchObject({ reason: "PEER_UNKNOWN" });
  });

  it("answers those without a certificate, or with a bad one, where it asks for none, and only what is open to anyone", async () => {
    const rig = await start(mutual("optional"));
    const { ca } = authority;
    const late = await authority.issue({ service: "gateway", lifeMs: -1_000 });
    for (const material of [{ ca }, { ca, ...late }]) {
      const channel = open(rig, fixedTls(material, { peer: "vault", trustDomain }));
      await expect(login(channel)).rejects.toMatchObject({ reason: "PEER_UNKNOWN" });
      const grant = createRpcClient(AuthService, channel).grantClientToken({
        principalId: "registry",
        clientSecret: "s".repeat(43),
      });
      // Let in: the handlers of the test do not know the method.
      await expect(grant).rejects.toMatchObject({ reason: "METHOD_NOT_FOUND" });
    }
    expect(await login(await channelAs(rig, "gateway"))).toBeDefined();
  });
});

/** Material that a test replaces. */
class Replaceable implements TlsSource {
  readonly #listeners = new Set<() => void>();
  current: TlsMaterial | undefined;

  replace(material: TlsMaterial): void {
    this.current = material;
    for (const fn of this.#listeners) fn();
  }

  onChange(fn: () => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }
}

describe("certificates that change", () => {
  it("are taken for new connections, and no call fails on the way from one authority to another", async () => {
    const next = await createTestAuthority();
    const [serving, calling] = [new Replaceable(), new Replaceable()];
    const both = Buffer.concat([authority.ca, next.ca]);
    const give = async (issuer: TestAuthority, ca: Buffer) => {
      calling.replace({ ...(await issuer.issue({ service: "gateway" })), ca });
      serving.replace({ ...(await issuer.issue({ service: "vault" })), ca });
    };
    await give(authority, authority.ca);
    const server = { source: serving, clientCertificates: "required", trustDomain } as const;
    // Connections age quickly, so that each generation of certificates is used for many. An ageing connection may refuse
    // a call that has just begun, and the next one again; calls that are safe to repeat are repeated, as those between services are.
    const rig = await start(server, { maxConnectionAgeMs: 250, maxConnectionAgeGraceMs: 5_000 });
    const old = open(rig, fixedTls(calling.current as TlsMaterial, { peer: "vault", trustDomain }));
    const channel = open(rig, { source: calling, peer: "vault", trustDomain });
    const client = createRpcClient(AuthService, channel, { timeoutMs: 10_000 });
    let calls = 0;
    let stop = false;
    const load = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (!stop) {
          await client.getJwks({});
          calls += 1;
        }
      }),
    );
    const more = async (count: number) => {
      const until = calls + count;
      while (calls < until) await client.getJwks({});
    };
    // Every order of old and new certificates meets while both authorities are trusted; then the old one goes.
    for (const [issuer, ca] of [
      [authority, both],
      [next, both],
      [authority, both],
      [next, both],
      [next, next.ca],
      [next, next.ca],
    ] as const) {
      await give(issuer, ca);
      await Promise.race([more(150), load]);
    }
    stop = true;
    await load;
    expect(calls).toBeGreaterThan(900);
    // Who kept the certificate of the authority that is gone is refused by now.
    await expect(login(old)).rejects.toMatchObject(away);
  });

  it("leave open calls alone", async () => {
    const serving = new Replaceable();
    serving.replace(vault);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const getJwks = async () => {
      await released;
      return { jwksJson: "{}" };
    };
    const rig = await startRig(
      (server) => server.add(AuthService, authHandlers({ getJwks, login: async () => ({}) })),
      { tls: { source: serving } },
    );
    rigs.push(rig);
    const before = open(rig, fixedTls({ ca: authority.ca }));
    const call = createRpcClient(AuthService, before).getJwks({});
    await login(before);
    const next = await createTestAuthority();
    serving.replace(await next.issue({ service: "vault" }));
    await login(open(rig, fixedTls({ ca: next.ca })));
    await expect(login(open(rig, fixedTls({ ca: authority.ca })))).rejects.toMatchObject(away);
    release();
    expect((await call).jwksJson).toBe("{}");
  });

  it("may come after the port is open", async () => {
    const serving = new Replaceable();
    const rig = await start({ source: serving });
    await expect(login(open(rig, fixedTls({ ca: authority.ca })))).rejects.toMatchObject(away);
    serving.replace(vault);
    await login(open(rig, fixedTls({ ca: authority.ca })));
  });
});
