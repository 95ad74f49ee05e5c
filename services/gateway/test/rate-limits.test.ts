import { StatusService } from "@nexus/proto/gateway";
import { JobService } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import { createManualClock } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { complete, failureOf, Rigs } from "./_helpers.ts";

const CREDENTIALS = { principalId: "ann", password: "pw" };
const rigs = new Rigs();

afterEach(() => rigs.close());

/** A gateway that lets 3 calls of a principal and 2 of an address through each second of a clock that stands. */
async function start() {
  const clock = createManualClock(Date.now());
  const rig = await rigs.start({
    clock,
    config: { callsPerSecondMax: 3, publicCallsPerSecondMax: 2 },
    upstreams: {
      orchestrator: (server) =>
        server.add(JobService, complete(JobService, { getJob: () => ({ job: { jobId: "j" } }) })),
      vault: (server) =>
        server.add(
          AuthService,
          complete(AuthService, {
            login: () => ({ tokens: { accessToken: "a" } }),
            getJwks: () => ({ jwksJson: "{}", maxAgeSeconds: 60 }),
          }),
        ),
    },
  });
  return { clock, rig };
}

const LIMITED = { kind: "exhausted", reason: "RATE_LIMITED" };

describe("rate limits", () => {
  it("count each principal apart, over all its tokens, and say when to come back", async () => {
    const { clock, rig } = await start();
    const jobs = rig.client(JobService);
    const get = async (sub: string) =>
      jobs.getJob({ jobId: "j" }, { token: await rig.token(["*"], sub) });
    for (let call = 0; call < 3; call += 1) await get("ann");
    const error = await failureOf(get("ann"));
    expect(error).toMatchObject(LIMITED);
    expect(error.details.retryAfterMs).toBe(334);
    await get("bob");
    clock.advance(334);
    await get("ann");
    expect(await rig.metrics("nexus_gateway_rate_limited_total{")).toEqual([
      'nexus_gateway_rate_limited_total{by="principal"} 1',
    ]);
  });

  it("count calls without a token by their address, whatever the port of the caller or the gateway", async () => {
    const { rig } = await start();
    const login = () => rig.client(AuthService).login(CREDENTIALS);
    await login();
    const keys = await fetch(`${rig.http}/.well-known/jwks.json`);
    expect(keys.status).toBe(200);
    const error = await failureOf(login());
    expect(error).toMatchObject(LIMITED);
    expect(error.details.retryAfterMs).toBe(500);
    const limited = await fetch(`${rig.http}/.well-known/jwks.json`);
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "1"]);
    const response = await fetch(`${rig.http}/nexus.vault.v1.AuthService/Login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(CREDENTIALS),
    });
    expect([response.status, response.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await response.json()).toMatchObject({
      code: "resource_exhausted",
      details: [{ debug: { reason: "RATE_LIMITED" } }, { debug: { retryDelay: "0.500s" } }],
    });
    const jobs = rig.client(JobService);
    await jobs.getJob({ jobId: "j" }, { token: await rig.token() });
    expect(await rig.metrics("nexus_gateway_rate_limited_total{")).toEqual([
      'nexus_gateway_rate_limited_total{by="address"} 3',
    ]);
  });

  it("hold for the gateway's own contract and on both ports together", async () => {
    const { rig } = await start();
    const token = await rig.token();
    const status = rig.client(StatusService);
    await status.getStatus({}, { token });
    await status.getStatus({}, { token });
    const overHttp = () =>
      fetch(`${rig.http}/nexus.gateway.v1.StatusService/GetStatus`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: "{}",
      });
    expect((await overHttp()).status).toBe(200);
    expect((await overHttp()).status).toBe(429);
    expect(await failureOf(status.getStatus({}, { token }))).toMatchObject(LIMITED);
  });
});
