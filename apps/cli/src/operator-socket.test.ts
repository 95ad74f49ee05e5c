import { once } from "node:events";
import { chmod, chown, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { processIdentity } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { assertSocketPrivate } from "./operator-socket.ts";

const ROOT = 0;
const uid = processIdentity().uid ?? ROOT;
let folder: string;
let path: string;
let server: Server;

beforeEach(async () => {
  // Made with mode 0700.
  folder = await mkdtemp(join(tmpdir(), "nexus-socket-"));
  path = join(folder, "vault.sock");
  server = createServer().listen(path);
  await once(server, "listening");
});

afterEach(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

function refusal(socket: string, caller = uid): unknown {
  try {
    assertSocketPrivate(socket, caller);
    return undefined;
  } catch (error) {
    return (error as { reason?: unknown }).reason;
  }
}

describe("assertSocketPrivate", () => {
  it("takes a socket in a folder of the caller's own, and root any user's", () => {
    expect(refusal(path)).toBeUndefined();
    expect(refusal(path, ROOT)).toBeUndefined();
    expect(refusal(join(folder, "none.sock"))).toBeUndefined();
    expect(refusal(join(folder, "none", "vault.sock"))).toBeUndefined();
  });

  it("refuses a folder that others may enter, before anything is sent", async () => {
    await chmod(folder, 0o750);
    expect(refusal(path)).toBe("OPERATOR_SOCKET_UNSAFE");
  });

  it.skipIf(uid === ROOT)("refuses a folder of another user", () => {
    expect(refusal(path, uid + 1)).toBe("OPERATOR_SOCKET_UNSAFE");
  });

  it.runIf(uid === ROOT)("refuses a folder of another user with a socket of a third", async () => {
    await chown(folder, 1, 1);
    expect(refusal(path, ROOT)).toBe("OPERATOR_SOCKET_UNSAFE");
    await chown(path, 1, 1);
    expect([refusal(path, ROOT), refusal(path, 1)]).toEqual([undefined, undefined]);
    expect(refusal(path, 2)).toBe("OPERATOR_SOCKET_UNSAFE");
  });

  it("refuses what is no socket, and a link to a folder", async () => {
    await writeFile(join(folder, "file"), "");
    expect(refusal(join(folder, "file"))).toBe("OPERATOR_SOCKET_UNSAFE");
    await symlink(folder, join(folder, "link"));
    expect(refusal(join(folder, "link", "vault.sock"))).toBe("OPERATOR_SOCKET_UNSAFE");
  });
});
