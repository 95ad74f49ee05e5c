import { AuthService } from "@nexus/proto/vault";
import { CLIENT_ADDRESS_HEADER } from "@nexus/rpc";
import { createManualClock } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import type { GatewayConfig } from "../src/config.ts";
import { complete, failureOf, Rigs } from "./_helpers.ts";

const rigs = new Rigs();
afterEach(() => rigs.close());

/** A gateway that lets one call of an address through while its clock stands, and where vault hears that logins come from. */
async function start(config: Partial<GatewayConfig>) {
  const heard: (string | undefined)[] = [];
  const rig = await rigs.start({
    clock: createManualClock(Date.now()),
    config: { publicCallsPerSecondMax: 1, ...config },
    upstreams: {
      vault: (server) =>
        server.add(
          AuthService,
          complete(AuthService, {
            login: (_request, { metadata }) => {
              heard.push(
                metadata.get(CLIENT_ADDRESS_HEADER)?.replace(/(?<=^127\.0\.0\.1:)\d+$/, "*"),
              );
              return { tokens: { accessToken: "a" } };
            },
            getJwks: () => ({ jwksJson: "{}", maxAgeSeconds: 60 }),
          }),
        ),
    },
  });
  const login = async (headers: Record<string, string>) => {
    const { status } = await fetch(`${rig.http}/nexus.vault.v1.AuthService/Login`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ principalId: "ann", password: "pw" }),
    });
    return status;
  };
  const keys = async (headers: Record<string, string>) =>
    (await fetch(`${rig.http}/.well-known/jwks.json`, { headers })).status;
  return { rig, heard, login, keys };
}

const forwarded = (text: string) => ({ "x-forwarded-for": text });

describe("a caller behind a trusted proxy", () => {
  const config = { trustedProxies: ["127.0.0.0/8", "::1"] };

  it("is counted and passed on as the proxy says, whatever it wrote itself", async () => {
    const { heard, login, keys } = await start(config);
    expect(await login(forwarded("198.51.100.1, 203.0.113.7"))).toBe(200);
    expect(await login(forwarded("198.51.100.2, 203.0.113.7"))).toBe(429);
    expect(await keys(forwarded("203.0.113.7"))).toBe(429);
    expect(await login(forwarded("203.0.113.8, 127.0.0.9"))).toBe(200);
    expect(await keys(forwarded("203.0.113.9"))).toBe(200);
    expect(heard).toEqual(["203.0.113.7:0", "203.0.113.8:0"]);
  });

  it("is one by its /64 network", async () => {
    const { heard, login } = await start(config);
    expect(await login(forwarded("[2001:db8:0:7::1]:443"))).toBe(200);
    expect(await login(forwarded("2001:db8:0:7::2"))).toBe(429);
    expect(await login(forwarded("2001:db8:0:8::1"))).toBe(200);
    expect(heard).toEqual(["2001:db8:0:7::1:443", "2001:db8:0:8::1:0"]);
  });

  it("is read from the one header that is named", async () => {
    const { heard, login } = await start({ ...config, forwardedHeader: "forwarded" });
    const both = { ...forwarded("198.51.100.1"), forwarded: 'for="203.0.113.7:80"' };
    expect(await login(both)).toBe(200);
    expect(await login(forwarded("198.51.100.1"))).toBe(200);
    expect(heard).toEqual(["203.0.113.7:80", "127.0.0.1:*"]);
  });

  it("is the peer on the gRPC port", async () => {
    const { rig, heard } = await start(config);
    const metadata = forwarded("203.0.113.7");
    const login = () =>
      rig.client(AuthService).login({ principalId: "ann", password: "pw" }, { metadata });
    await login();
    expect(heard).toEqual(["127.0.0.1:*"]);
    expect(await failureOf(login())).toMatchObject({ reason: "RATE_LIMITED" });
  });
});

describe("a caller whose peer is not trusted", () => {
  it.each([
    ["by default", {}],
    ["outside of the networks", { trustedProxies: ["10.0.0.0/8"] }],
  ])("is the peer, whatever it says: %s", async (_what, config) => {
    const { heard, login, keys } = await start(config);
    expect(await login(forwarded("203.0.113.7"))).toBe(200);
    expect(await login(forwarded("203.0.113.8"))).toBe(429);
    expect(await keys(forwarded("203.0.113.9"))).toBe(429);
    expect(heard).toEqual(["127.0.0.1:*"]);
  });
});

describe("the setting of trusted proxies", () => {
  it.each(["10.0.0.0/33", "proxy.example.com", "0.0.0.0/0"])("refuses %s", async (text) => {
    await expect(start({ trustedProxies: ["10.0.0.0/8", text] })).rejects.toThrow(text);
  });
});
