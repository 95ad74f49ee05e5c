/** Clients that mean harm below the calls: what HTTP/2 lets them send. */
import { once } from "node:events";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { AuthService } from "@nexus/proto/vault";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRpcClient } from "../src/index.ts";
import { authHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";

/** As many as a server takes at once, and then some (nghttp2 lets 1 000 pass, and 33 a second). */
const RESETS = 5_000;
const HEADERS = {
  ":method": "POST",
  ":path": "/nexus.vault.v1.AuthService/GetJwks",
  "content-type": "application/grpc",
  te: "trailers",
};

let rig: Rig;
let begun = 0;

beforeAll(async () => {
  const getJwks = () => {
    begun++;
    return Promise.resolve({ jwksJson: "[]" });
  };
  rig = await startRig((server) => server.add(AuthService, authHandlers({ getJwks })));
});

afterAll(() => rig.close());

async function open(): Promise<ClientHttp2Session> {
  const session = connect(`http://${rig.address}`);
  // That it is cut off is what is waited for.
  session.on("error", () => undefined);
  await once(session, "connect");
  return session;
}

/** Opens a stream and takes it back at once, as often as the connection lasts. */
async function resetRapidly(session: ClientHttp2Session): Promise<number> {
  let sent = 0;
  while (sent < RESETS && !session.destroyed && !session.closed) {
    const stream = session.request(HEADERS);
    stream.on("error", () => undefined);
    stream.close(constants.NGHTTP2_CANCEL);
    sent++;
    if (sent % 50 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return sent;
}

describe("a client that resets every stream it opens (CVE-2023-44487)", () => {
  it("is cut off, and nobody else notices", async () => {
    const client = createRpcClient(AuthService, rig.channel);
    await client.getJwks({});
    const session = await open();
    await resetRapidly(session);
    await waitFor(() => session.destroyed || session.closed, { what: "the end of the connection" });
    expect(begun).toBeLessThan(RESETS);
    // The connection that was there before, and a new one.
    expect(await client.getJwks({})).toMatchObject({ jwksJson: "[]" });
    const another = await open();
    expect(another.destroyed).toBe(false);
    another.close();
  });
});
