import { writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { StatusService } from "@nexus/proto/gateway";
import { createRpcChannel, createRpcClient } from "@nexus/rpc";
import { createTempFolder, createTestCertificates, type TempFolder } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GatewayRig, Rigs } from "./_helpers.ts";

const rigs = new Rigs();
const { ca, server } = createTestCertificates();
let folder: TempFolder;
let rig: GatewayRig;

beforeAll(async () => {
  const files = { tlsCertFile: server.cert, tlsKeyFile: server.key, tlsCaFile: ca };
  folder = await createTempFolder();
  const config: Record<string, string> = {};
  for (const [name, pem] of Object.entries(files)) {
    config[name] = join(folder.path, name);
    await writeFile(config[name], pem);
  }
  rig = await rigs.start({ config });
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

describe("a gateway with certificates", () => {
  it("speaks TLS on both ports", async () => {
    const channel = createRpcChannel({ address: rig.gateway.address, tls: { ca } });
    const client = createRpcClient(StatusService, channel);
    const { services } = await client.getStatus({}, { token: await rig.token() });
    expect(services.length).toBe(6);
    channel.close();
    expect(await getOverTls("/", ca)).toBe(404);
  });

  it("speaks nothing else on them", async () => {
    await expect(fetch(`${rig.http}/`)).rejects.toThrow("fetch failed");
    await expect(getOverTls("/", createTestCertificates().ca)).rejects.toThrow();
  });
});
