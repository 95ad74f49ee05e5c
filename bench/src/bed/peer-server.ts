/** The server of a peer: one that the caller names, or one of this machine that lives as long as its measurement. */
import process from "node:process";

/** A server to measure on. */
export interface PeerServer {
  readonly url: string;
  /** Version and durability, as the server itself tells them. */
  readonly about: string;
  stop(): Promise<void>;
}

/** Returns the address in a variable; undefined when it is not set, or empty. */
export function namedUrl(variable: string): string | undefined {
  const url = process.env[variable];
  return url === "" ? undefined : url;
}

/** Starts a server and asks it what it is. One that does not say is stopped again.
 *
 * Errors: those of both. */
export async function openLocal<T extends { readonly url: string; stop(): Promise<void> }>(
  start: () => Promise<T>,
  describe: (local: T) => Promise<string>,
): Promise<PeerServer> {
  const local = await start();
  try {
    return { url: local.url, about: await describe(local), stop: () => local.stop() };
  } catch (error) {
    await local.stop();
    throw error;
  }
}
