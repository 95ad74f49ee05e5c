/** A sidecar of a KMS, as real as a test can have it: the contract over gRPC, the keys in another place than vault. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { KmsService } from "@nexus/proto/kms";
import { createRpcServer, type TlsOptions } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** What a test does to the KMS. */
export interface TestKms {
  readonly address: string;
  readonly port: number;
  /** How many keys it has unwrapped. */
  readonly unwrapped: number;
  /** Adds a key that wraps from now on; the ones before still unwrap. */
  rotate(): string;
  /** Loses a key. */
  disable(keyId: string): void;
  close(): Promise<void>;
}

function refusal(kind: "not_found" | "invalid"): NexusError {
  return new NexusError({ kind, reason: "TEST_KMS", message: "The test KMS refuses." });
}

/** Keys that outlive a restart of the sidecar. */
export type KmsKeys = Map<string, Buffer>;

/** `at`: a port of loopback, or the path of a Unix socket. */
export async function startKms(
  keys: KmsKeys = new Map(),
  at: number | string = 0,
  tls?: TlsOptions,
): Promise<TestKms> {
  let unwrapped = 0;
  const rotate = () => {
    const id = `test-key/${keys.size + 1}`;
    keys.set(id, randomBytes(32));
    return id;
  };
  if (keys.size === 0) rotate();
  const current = () => [...keys.keys()].at(-1) ?? "";
  const server = createRpcServer({
    service: "test-kms",
    // An address is its host and port with a colon between, also for a socket.
    host: typeof at === "string" ? "unix" : "127.0.0.1",
    port: at as number,
    logger: createSilentLogger(),
    metrics: createMetrics("test-kms"),
    ...(tls === undefined ? {} : { tls }),
    verifier: { verify: () => Promise.reject(refusal("invalid")), onRevoked: () => () => {} },
  });
  server.add(KmsService, {
    describeKey: () => ({ keyId: current() }),
    wrapKey({ plaintextKey, context }) {
      const keyId = current();
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv("aes-256-gcm", keys.get(keyId) ?? "", iv);
      cipher.setAAD(context);
      const sealed = Buffer.concat([cipher.update(plaintextKey), cipher.final()]);
      return { keyId, wrappedKey: Buffer.concat([iv, sealed, cipher.getAuthTag()]) };
    },
    unwrapKey({ keyId, wrappedKey, context }) {
      const key = keys.get(keyId);
      if (key === undefined) throw refusal("not_found");
      const iv = wrappedKey.subarray(0, IV_BYTES);
      const decipher = createDecipheriv("aes-256-gcm", key, iv, { authTagLength: TAG_BYTES });
      decipher.setAAD(context).setAuthTag(wrappedKey.subarray(-TAG_BYTES));
      try {
        const body = wrappedKey.subarray(IV_BYTES, -TAG_BYTES);
        const plaintextKey = Buffer.concat([decipher.update(body), decipher.final()]);
        unwrapped++;
        return { plaintextKey };
      } catch {
        throw refusal("invalid");
      }
    },
  });
  const bound = await server.listen();
  return {
    port: bound.port,
    address: typeof at === "string" ? `unix:${at}` : bound.address,
    get unwrapped() {
      return unwrapped;
    },
    rotate,
    disable: (keyId) => void keys.delete(keyId),
    close: () => server.close(100),
  };
}
