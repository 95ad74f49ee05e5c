import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { ConfigError } from "@nexus/core";
import { JobService } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import type { NexusError } from "@nexus/shared";
import { afterEach, describe, expect, it } from "vitest";
import { complete, type GatewayRig, Rigs } from "./_helpers.ts";

const JWKS = { keys: [{ kid: "k1" }] };
const LOGIN = "/nexus.vault.v1.AuthService/Login";
const CREDENTIALS = { principalId: "ann", password: "pw" };
const MESSAGE_MAX_BYTES = 64 * 1_024;
const rigs = new Rigs();

afterEach(() => rigs.close());

/** A gateway with small limits before a vault that logs everybody in. */
function start(login: () => object | Promise<object> = () => ({})): Promise<GatewayRig> {
  return rigs.start({
    config: { messageMaxBytes: MESSAGE_MAX_BYTES },
    upstreams: {
      vault: (server) =>
        server.add(
          AuthService,
          complete(AuthService, {
            login,
            getJwks: () => ({ jwksJson: JSON.stringify(JWKS), maxAgeSeconds: 300 }),
          }),
        ),
    },
  });
}

interface Post {
  readonly body: string | Uint8Array<ArrayBuffer> | ReadableStream;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function post(rig: GatewayRig, path: string, { body, type, headers }: Post) {
  const response = await fetch(`${rig.http}${path}`, {
    method: "POST",
    headers: { "content-type": type ?? "application/json", ...headers },
    body,
    ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

function errorOf(text: string): { code: string; reason: string | undefined } {
  const { code, details } = JSON.parse(text) as {
    code: string;
    details?: { debug?: { reason?: string } }[];
  };
  return { code, reason: details?.[0]?.debug?.reason };
}

/** Sends bytes as they are and returns the first line of the answer. */
function sendRaw(rig: GatewayRig, text: string): Promise<string> {
  const [host = "", port = ""] = rig.gateway.httpAddress.split(":");
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write(text));
    let received = "";
    socket.on("data", (chunk) => (received += String(chunk)));
    socket.on("error", reject);
    socket.on("close", () => resolve(received.split("\r\n")[0] ?? ""));
    socket.on("data", () => socket.end());
  });
}

describe("bodies", () => {
  const tooLarge = { code: "resource_exhausted", reason: "MESSAGE_TOO_LARGE" };
  const large = JSON.stringify({ ...CREDENTIALS, namespace: "x".repeat(MESSAGE_MAX_BYTES) });

  it("may be as large as a message may be", async () => {
    const rig = await start();
    const base = JSON.stringify({ ...CREDENTIALS, password: "" }).length;
    const password = "x".repeat(1_024);
    const padding = " ".repeat(MESSAGE_MAX_BYTES - base - password.length);
    const body = JSON.stringify({ ...CREDENTIALS, password }) + padding;
    expect(body.length).toBe(MESSAGE_MAX_BYTES);
    expect((await post(rig, LOGIN, { body })).status).toBe(200);
  });

  it("over the limit are refused, with and without a length", async () => {
    const rig = await start();
    const chunked = new Blob([large]).stream();
    for (const body of [large, chunked]) {
      const { status, text, headers } = await post(rig, LOGIN, { body });
      expect([status, errorOf(text)]).toEqual([429, tooLarge]);
      expect(headers.get("connection")).toBe("close");
    }
    expect((await post(rig, LOGIN, { body: JSON.stringify(CREDENTIALS) })).status).toBe(200);
  });

  it("over the limit only once unpacked are refused too", async () => {
    const rig = await start();
    const body = new Uint8Array(gzipSync(" ".repeat(100 * MESSAGE_MAX_BYTES)));
    expect(body.length).toBeLessThan(MESSAGE_MAX_BYTES);
    const { status, text } = await post(rig, LOGIN, {
      body,
      headers: { "content-encoding": "gzip" },
    });
    expect([status, errorOf(text)]).toEqual([429, tooLarge]);
  });

  it("over the limit are refused in gRPC-Web, in its own words", async () => {
    const rig = await start();
    const envelope = new Uint8Array(MESSAGE_MAX_BYTES + 100);
    new DataView(envelope.buffer).setUint32(1, envelope.length - 5);
    const answer = await post(rig, LOGIN, { body: envelope, type: "application/grpc-web+proto" });
    expect(answer.status).toBe(200);
    const all = `${answer.text}${answer.headers.get("grpc-status")}`;
    expect(all).toMatch(/grpc-status: 8|^8$/m);
  });

  it("that are no JSON, or no such message, are refused with a reason", async () => {
    const rig = await start();
    for (const body of ["{", '{"principalId": 5}', "[]"]) {
      const { status, text } = await post(rig, LOGIN, { body });
      expect([body, status, errorOf(text)]).toEqual([
        body,
        400,
        { code: "invalid_argument", reason: "REQUEST_MALFORMED" },
      ]);
    }
  });

  it("with a field that there is not are refused, and nothing of them is shown", async () => {
    const rig = await start();
    const body = JSON.stringify({ ...CREDENTIALS, passwort: "misspelt" });
    const { status, text } = await post(rig, LOGIN, { body });
    expect([status, errorOf(text).reason]).toEqual([400, "REQUEST_MALFORMED"]);
    expect(text).toContain("LoginRequest from JSON: it has a field that there is not");
    expect(text).not.toMatch(/passwort|misspelt/);
  });

  it("of another type are refused", async () => {
    const rig = await start();
    expect((await post(rig, LOGIN, { body: "a=b", type: "text/plain" })).status).toBe(415);
  });
});

describe("paths", () => {
  it("to internal contracts, unknown methods and unknown places do not exist", async () => {
    const rig = await start();
    const token = await rig.identity.token({ sub: "orchestrator", kind: "service" });
    const headers = { authorization: `Bearer ${token}` };
    for (const path of [
      "/nexus.registry.v1.PresenceService/ReportPresence",
      "/nexus.registry.v1.OutcomeService/ReportOutcomes",
      "/nexus.mesh.v1.DispatchService/Dispatch",
      "/nexus.vault.v1.AuthService/NoSuchMethod",
      "/nexus.vault.v1.AuthService",
      "/",
      "//etc/passwd",
      "/.well-known/",
      "/metrics",
    ]) {
      const { status, text } = await post(rig, path, { body: "{}", headers });
      expect([path, status, errorOf(text)]).toEqual([
        path,
        404,
        { code: "unimplemented", reason: "METHOD_NOT_FOUND" },
      ]);
    }
  });

  it("to methods that stream both ways need another protocol", async () => {
    const rig = await start();
    const path = "/nexus.mesh.v1.AgentSessionService/Connect";
    expect((await post(rig, path, { body: "", type: "application/connect+json" })).status).toBe(
      505,
    );
  });

  it("may be read with GET where nothing changes, with a token all the same", async () => {
    const rig = await start();
    const query = "connect=v1&encoding=json&message=%7B%7D";
    const keys = await fetch(`${rig.http}/nexus.vault.v1.AuthService/GetJwks?${query}`);
    expect(await keys.json()).toMatchObject({ maxAgeSeconds: 300 });
    const job = await fetch(`${rig.http}/nexus.orchestrator.v1.JobService/GetJob?${query}`);
    expect([job.status, errorOf(await job.text()).reason]).toEqual([401, "TOKEN_MISSING"]);
    expect((await fetch(`${rig.http}${LOGIN}?${query}`)).status).toBe(405);
  });

  it("offer nothing to pages of other origins yet", async () => {
    const rig = await start();
    const headers = { origin: "https://evil.example", "access-control-request-method": "POST" };
    const preflight = await fetch(`${rig.http}${LOGIN}`, { method: "OPTIONS", headers });
    const call = await post(rig, LOGIN, { body: JSON.stringify(CREDENTIALS), headers });
    for (const { headers: answered } of [preflight, call]) {
      const names = [...answered.keys()];
      expect(names.filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
    expect(preflight.status).toBe(405);
  });
});

describe("/.well-known/jwks.json", () => {
  it("serves vault's keys and says for how long they hold", async () => {
    const rig = await start();
    const response = await fetch(`${rig.http}/.well-known/jwks.json?x=1`);
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toEqual(JWKS);
    expect((await post(rig, "/.well-known/jwks.json", { body: "{}" })).status).toBe(405);
  });

  it("is unavailable while vault is away", async () => {
    const rig = await rigs.start();
    const response = await fetch(`${rig.http}/.well-known/jwks.json`);
    expect(response.status).toBe(503);
    expect(errorOf(await response.text())).toEqual({ code: "unavailable", reason: "UNAVAILABLE" });
  });
});

describe("requests that are hardly HTTP", () => {
  it("are answered 400 and do no harm", async () => {
    const rig = await start();
    const hostless = `POST ${LOGIN} HTTP/1.0\r\ncontent-type: application/json\r\n\r\n`;
    expect(await sendRaw(rig, hostless)).toContain(" 400 ");
    const badHost = `POST ${LOGIN} HTTP/1.1\r\nhost: %%%\r\ncontent-length: 0\r\n\r\n`;
    expect(await sendRaw(rig, badHost)).toContain(" 400 ");
    expect(await sendRaw(rig, "NONSENSE\r\n\r\n")).toContain(" 400 ");
    expect((await post(rig, LOGIN, { body: JSON.stringify(CREDENTIALS) })).status).toBe(200);
  });

  it("with headers over 16 KiB are answered 431", async () => {
    const rig = await start();
    const headers = { "x-large": "x".repeat(17 * 1_024) };
    expect((await post(rig, LOGIN, { body: "{}", headers })).status).toBe(431);
  });
});

describe("errors that are nobody's business", () => {
  it("leave only a fixed text and an error id", async () => {
    const rig = await start(() => Promise.reject(new Error("SELECT secret FROM keys")));
    const { status, text } = await post(rig, LOGIN, { body: JSON.stringify(CREDENTIALS) });
    expect(status).toBe(500);
    expect(text).not.toContain("SELECT");
    const { code, details } = JSON.parse(text) as { code: string; details: { debug: object }[] };
    expect(code).toBe("internal");
    expect(details[0]?.debug).toMatchObject({ reason: "INTERNAL", domain: "nexus.vault" });
    expect(JSON.stringify(details[0]?.debug)).toContain("error_id");
  });
});

describe("the drain of the HTTP port", () => {
  it("lets a running call finish, ends streams in order, and takes nothing new", async () => {
    let finish: (() => void) | undefined;
    const running = new Promise<void>((resolve) => (finish = resolve));
    let entered: (() => void) | undefined;
    const inside = new Promise<void>((resolve) => (entered = resolve));
    const rig = await rigs.start({
      config: { shutdownGraceMs: 60_000 },
      upstreams: {
        orchestrator: (server) =>
          server.add(
            JobService,
            complete(JobService, {
              async getJob() {
                entered?.();
                await running;
                return { job: { jobId: "late" } };
              },
              async *watchJob(_request, ctx) {
                yield { events: [{ sequence: 1n }] };
                await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
              },
            }),
          ),
      },
    });
    const headers = { authorization: `Bearer ${await rig.token()}` };
    const base = "/nexus.orchestrator.v1.JobService";
    const unary = post(rig, `${base}/GetJob`, { body: '{"jobId":"j"}', headers });
    await inside;
    const request = Buffer.from('{"jobId":"j"}');
    const envelope = Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]);
    const stream = await fetch(`${rig.http}${base}/WatchJob`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/connect+json" },
      body: envelope,
    });
    const closing = Promise.resolve(rig.gateway[Symbol.asyncDispose]());
    expect(await stream.text()).toContain("SERVER_DRAINING");
    await expect(fetch(`${rig.http}/`)).rejects.toThrow("fetch failed");
    finish?.();
    expect(JSON.parse((await unary).text)).toEqual({ job: { jobId: "late" } });
    // Long before the grace is over: what is kept alive for a next request holds nothing up.
    await closing;
  });
});

describe("the start of the HTTP port", () => {
  it("tells a taken port by its setting, and leaves nothing open", async () => {
    const rig = await start();
    const httpPort = Number(rig.gateway.httpAddress.split(":")[1]);
    const second = rigs.start({ config: { httpPort } });
    const error = await second.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as NexusError).message).toContain("NEXUS_GATEWAY_HTTP_PORT");
  });
});
