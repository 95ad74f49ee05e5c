/** A TCP proxy whose connections a test can break as a network or a killed process does. */
import { connect, createServer, type Socket } from "node:net";

/** A listening proxy. */
export interface Proxy extends AsyncDisposable {
  readonly address: string;
  readonly connections: number;
  /** Resets every connection and refuses new ones. */
  cut(): void;
}

/** Starts a proxy before `target`, `host:port`. */
export async function startProxy(target: string): Promise<Proxy> {
  const [host = "", port = ""] = target.split(":");
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((near) => {
    const far = connect(Number(port), host);
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const socket of pair) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        pairs.delete(pair);
        for (const one of pair) one.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const bound = server.address() as { port: number };
  const cut = () => {
    server.close();
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy();
  };
  return {
    address: `127.0.0.1:${bound.port}`,
    get connections() {
      return pairs.size;
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      await Promise.resolve();
    },
  };
}
