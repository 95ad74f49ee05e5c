/** Free ports on loopback. */
import { createServer } from "node:net";

/** The address every development process binds: nothing of a development stack is reachable from outside. */
export const LOOPBACK = "127.0.0.1";

/** Finds a port that was free a moment ago. Another process may take it first: bind soon, and be ready to try again. */
export async function freePort(): Promise<number> {
  return bindBriefly(0);
}

/** Finds several different free ports, all held at the same time while they are chosen. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listen(0)));
  const ports = servers.map((server) => portOf(server));
  await Promise.all(servers.map((server) => closed(server)));
  return ports;
}

/** Says whether a port can be bound on loopback at this moment. */
export async function isPortFree(port: number): Promise<boolean> {
  try {
    await bindBriefly(port);
    return true;
  } catch {
    // EADDRINUSE or EACCES: either way we cannot have it.
    return false;
  }
}

async function bindBriefly(port: number): Promise<number> {
  const server = await listen(port);
  const bound = portOf(server);
  await closed(server);
  return bound;
}

type Server = ReturnType<typeof createServer>;

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => resolve(server));
  });
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("not a TCP server");
  return address.port;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
  });
}
