/** Says whether a socket may be told vault's root key. */
import { lstatSync, type Stats } from "node:fs";
import { dirname } from "node:path";
import { NexusError, processIdentity } from "@nexus/shared";

const OTHERS = 0o077;
const ROOT = 0;

/** Refuses a socket that somebody else could have put there: whoever listens is sent the root key. The same rule as vault's own when
 * it makes the socket. Root may call at the socket of another user, in a folder of that user's.
 *
 * Errors: precondition/OPERATOR_SOCKET_UNSAFE. One that is not there is left for the call to find. */
export function assertSocketPrivate(path: string, uid = processIdentity().uid): void {
  const folder = tryStat(dirname(path));
  if (folder === undefined) return;
  if (!folder.isDirectory()) throw unsafe(path, "lies in no folder");
  if ((folder.mode & OTHERS) !== 0) throw unsafe(path, "lies in a folder that others may enter");
  const found = tryStat(path);
  if (found !== undefined && !found.isSocket()) throw unsafe(path, "is no socket");
  const trusted = [ROOT, uid, uid === ROOT ? found?.uid : undefined];
  if (!trusted.includes(folder.uid)) throw unsafe(path, "lies in a folder of another user");
}

function tryStat(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function unsafe(path: string, problem: string): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "OPERATOR_SOCKET_UNSAFE",
    message: `The operator socket ${path} ${problem}.`,
  });
}
