import { connect as connectHttp2 } from "node:http2";
import { request } from "node:https";
import { connect } from "node:tls";
import { StatusService } from "@nexus/proto/gateway";
import { createRpcChannel, createRpcClient, fixedTls } from "@nexus/rpc";
import { createTempFolder, createTestAuthority, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GatewayRig, Rigs } from "./_helpers.ts";

const rigs = new Rigs();
const authority = await createTestAuthority();
const { ca } = authority;
let folder: TempFolder;
let rig: GatewayRig;

beforeAll(async () => {
  folder = await createTempFolder();
  const files = await authority.writeFiles(folder.path, { service: "gateway" });
  // Mutual is between services: whoever comes from outside has a token and no certificate.
  rig = await rigs.start({ config: { tlsMode: "mutual", ...files } });
});

afterAll(async () => {
  await rigs.close();
  await folder.remove();
});

function getOverTls(path: string, trusted: Buffer): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(`https://${rig.gateway.httpAddress}${path}`, { ca: trusted });
    call.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    call.on("error", reject);
    call.end();
  });
}

function getOverHttp2(path: string): Promise<{ status: number | undefined; body: string }> {
  const session = connectHttp2(`https://${rig.gateway.httpAddress}`, { ca });
  return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
    let status: number | undefined;
    let body = "";
    session.on("error", reject);
    const call = session.request({ ":path": path });
    call.setEncoding("utf8");
    call.on("response", (headers) => {
      status = headers[":status"];
    });
    call.on("data", (text: string) => {
      body += text;
    });
    call.on("end", () => resolve({ status, body }));
    call.on("error", reject);
  }).finally(() => session.close());
}

/** The serial number of the certificate that a port shows. */
function serialAt(address: string): Promise<string> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), ca }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

describe("a gateway with certificates", () => {
  it("speaks TLS on both ports, and asks nobody for a certificate", async () => {
    const channel = createRpcChannel({ address: rig.gateway.address, tls: fixedTls({ ca }) });
    const client = createRpcClient(StatusService, channel);
    const { services } = await client.getStatus({}, { token: await rig.token() });
    expect(services.length).toBe(6);
    channel.close();
    expect(await getOverTls("/", ca)).toBe(404);
  });

  it("speaks HTTP/2 to those who ask for it, with the same answers", async () => {
    const answer = await getOverHttp2("/nowhere");
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.body)).toMatchObject({ code: "unimplemented" });
  });

  it("speaks nothing else on them", async () => {
    await expect(fetch(`${rig.http}/`)).rejects.toThrow("fetch failed");
    await expect(getOverTls("/", (await createTestAuthority()).ca)).rejects.toThrow();
  });

  it("shows a new certificate soon after its files change, on both ports", async () => {
    const ports = [rig.gateway.address, rig.gateway.httpAddress];
    const before = await Promise.all(ports.map(serialAt));
    expect(before[0]).toBe(before[1]);
    await authority.writeFiles(folder.path, { service: "gateway" });
    await waitFor(
      async () => (await Promise.all(ports.map(serialAt))).every((serial) => serial !== before[0]),
      { what: "the new certificate" },
    );
  });
});
