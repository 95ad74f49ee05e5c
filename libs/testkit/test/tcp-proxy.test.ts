import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TcpProxy } from "../src/tcp-proxy.ts";
import { waitFor } from "../src/wait-for.ts";

let heard = "";
const server = createServer((socket) => {
  socket.on("data", (chunk) => {
    heard += chunk.toString();
    socket.write(`got ${chunk.toString()}`);
  });
});
let proxy: TcpProxy;

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy = await TcpProxy.listen();
  proxy.aim((server.address() as AddressInfo).port);
});

afterAll(async () => {
  await proxy.close();
  server.close();
});

/** A connection and what it was answered. */
async function open(): Promise<{ socket: Socket; answered: () => string }> {
  const socket = connect(proxy.port, "127.0.0.1");
  await once(socket, "connect");
  let answered = "";
  socket.on("data", (chunk) => {
    answered += chunk.toString();
  });
  return { socket, answered: () => answered };
}

describe("a proxy that delays", () => {
  it("keeps what clients send, says what it keeps, and passes it on in order", async () => {
    const { socket, answered } = await open();
    socket.write("one ");
    await waitFor(() => answered() === "got one ", { what: "the way to be open" });
    proxy.delay();
    socket.write("two ");
    await waitFor(() => proxy.isWaiting("two"), { what: "what was sent to wait" });
    const later = await open();
    later.socket.write("three ");
    await waitFor(() => proxy.isWaiting("three"), { what: "a new connection to wait too" });
    expect(heard).toBe("one ");
    proxy.pass();
    await waitFor(() => later.answered() === "got three ", { what: "the late answer" });
    expect(proxy.isWaiting("two")).toBe(false);
    socket.write("four ");
    await waitFor(() => answered().endsWith("four "), { what: "the way to be open again" });
    expect(answered().replaceAll("got ", "")).toBe("one two four ");
  });
});

describe("a proxy that has gone silent", () => {
  it("says which clients hold on, lets new ones through when it speaks, and never ends an old one", async () => {
    proxy.replace();
    const [old, other] = [await open(), await open()];
    old.socket.write("a");
    await waitFor(() => old.answered() === "got a", { what: "the way to be open" });
    proxy.silence();
    const late = await open();
    proxy.speak();
    const fresh = await open();
    for (const { socket } of [old, late, fresh]) socket.write("b");
    await waitFor(() => fresh.answered() === "got b", { what: "the new one's answer" });
    expect([old.answered(), late.answered(), proxy.unaware]).toEqual(["got a", "", 3]);
    other.socket.destroy();
    await waitFor(() => proxy.unaware === 2, { what: "the one that gave up" });
    expect([old, late].map(({ socket }) => socket.closed)).toEqual([false, false]);
    for (const { socket } of [old, late, fresh]) socket.destroy();
  });
});
