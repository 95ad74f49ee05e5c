import { lstat, mkdir, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { SealService } from "@nexus/proto/vault";
import {
  type CallAuditor,
  createRpcServer,
  type Principal,
  type ServiceImplementation,
} from "@nexus/rpc";
import type { ServiceFrame } from "@nexus/runtime";
import { DEFAULT_NAMESPACE, NexusError, processIdentity } from "@nexus/shared";

/** What the socket needs. */
export interface OperatorSocketOptions {
  readonly path: string;
  readonly handlers: ServiceImplementation<typeof SealService>;
  readonly auditor: CallAuditor;
}

const FOLDER_MODE = 0o700;
const OTHERS = 0o077;
const NOBODY_LISTENS: ReadonlySet<string | undefined> = new Set(["ECONNREFUSED", "ENOENT"]);
/** Calls on the socket are over at once; a stop waits no longer for them. */
const CLOSE_GRACE_MS = 1_000;

/** Who calls at the socket: whoever the file system lets in could as well read vault's memory. */
const OPERATOR: Principal = {
  namespace: DEFAULT_NAMESPACE,
  // No principal can have such a name.
  principalId: "vault:operator-socket",
  kind: "user",
  scopes: ["vault:seal:*"],
  tokenId: "",
  familyId: "",
  issuedAtMs: 0,
  expiresAtMs: Number.POSITIVE_INFINITY,
};

/** Serves SealService at a Unix socket, without TLS and without a token: vault can be opened there however long it was sealed, when
 * its certificate has ended and nobody has a token any more. Only SealService, beside health and reflection, and only for whom the folder lets in.
 *
 * Errors: precondition/OPERATOR_SOCKET_UNSAFE. */
export async function openOperatorSocket(
  frame: ServiceFrame,
  { path, handlers, auditor }: OperatorSocketOptions,
): Promise<void> {
  await assertFolderPrivate(path);
  await removeLeftover(path);
  const { service, logger, metrics, verifier } = frame;
  const socket = { path, caller: OPERATOR };
  const at = { host: "", port: 0, socket };
  const server = createRpcServer({ service, logger, metrics, verifier, needsAuditor: true, ...at });
  server.add(SealService, handlers).useAuditor(auditor);
  frame.defer("operator socket", () => server.close(CLOSE_GRACE_MS));
  try {
    await server.listen();
  } catch (cause) {
    throw unsafe(path, "cannot be made", cause);
  }
  // Again, in case that the folder was exchanged meanwhile.
  await assertFolderPrivate(path);
  logger.info({ path }, "operator socket open");
}

/** The mode of a socket means nothing on some systems, and is set only after it is there; a folder's keeps others out from the
 * start. */
async function assertFolderPrivate(path: string): Promise<void> {
  const folder = dirname(path);
  try {
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    const { mode, uid } = await stat(folder);
    if ((mode & OTHERS) !== 0) throw unsafe(path, "lies in a folder that is not of mode 0700");
    if (uid !== processIdentity().uid) throw unsafe(path, "lies in a folder of another user");
  } catch (error) {
    if (error instanceof NexusError) throw error;
    throw unsafe(path, "lies in a folder that cannot be made", error);
  }
}

/** A vault that was killed leaves its socket; one that somebody listens at is another vault's. */
async function removeLeftover(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw unsafe(path, "is there and no socket");
  if (await isServed(path)) throw unsafe(path, "is served by another process");
  await rm(path, { force: true });
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (served: boolean) => {
      socket.destroy();
      resolve(served);
    };
    socket.once("connect", () => end(true));
    // Any other error, of rights or of a queue that is full, does not say that nobody listens.
    socket.once("error", ({ code }: NodeJS.ErrnoException) => end(!NOBODY_LISTENS.has(code)));
  });
}

function unsafe(path: string, problem: string, cause?: unknown): NexusError {
  return new NexusError({
    kind: "precondition",
    reason: "OPERATOR_SOCKET_UNSAFE",
    message: `The operator socket ${path} ${problem}.`,
    cause,
  });
}
