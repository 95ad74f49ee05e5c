/** Free ports on loopback. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/** The address every development process binds: nothing of a development stack is reachable from outside. */
export const LOOPBACK = "127.0.0.1";

/** Below the range from which systems give ports to outgoing connections (Linux: 32768 up), any of which could take a port
 * between our choice and the bind; above the ports of well-known servers. */
const FREE_PORT_MIN = 10_000;
const FREE_PORT_MAX = 32_000;
const ATTEMPTS_MAX = 100;

/** Ports that fetch() and browsers refuse to call, whatever listens there: the Fetch standard's bad ports from 1024 up. Nothing that
 * answers HTTP can live at one. */
export const FETCH_BAD_PORTS: ReadonlySet<number> = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
  6679, 6697, 10_080,
]);

/** Finds a port that was free a moment ago, and that HTTP may be spoken at. Another process may take it first: bind soon, and be ready to try again. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const port = randomInt(FREE_PORT_MIN, FREE_PORT_MAX);
    if (!FETCH_BAD_PORTS.has(port) && (await isPortFree(port))) return port;
  }
  return bindBriefly(0);
}

/** Finds several different free ports. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
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
