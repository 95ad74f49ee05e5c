import type { ManualClock } from "@nexus/shared";
import { createManualClock, createSilentLogger } from "@nexus/shared";
import type { CryptoKey, JWK, JWTPayload } from "jose";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { FetchedJwks } from "../src/key-cache.ts";

export const NOW_MS = 1_800_000_000_000;

export interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

export async function newKey(kid: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "EdDSA" } };
}

export function claims(over: Readonly<Record<string, unknown>> = {}): JWTPayload {
  const seconds = NOW_MS / 1000;
  return {
    iss: "nexus-vault",
    aud: "nexus",
    sub: "worker-1",
    kind: "agent",
    ns: "default",
    scope: "mesh:session:connect mesh:message:send",
    jti: "tok_1",
    fam: "fam_1",
    iat: seconds,
    exp: seconds + 3600,
    ...over,
  };
}

export function sign(
  key: SigningKey,
  payload: JWTPayload,
  header: Record<string, unknown> = {},
): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: key.kid, ...header })
    .sign(key.privateKey);
}

/** A key endpoint whose answer and health the test decides. */
export interface FakeJwks {
  keys: readonly SigningKey[];
  down: boolean;
  maxAgeSeconds: number;
  calls: number;
  fetch(): Promise<FetchedJwks>;
}

export function createFakeJwks(keys: readonly SigningKey[]): FakeJwks {
  return {
    keys,
    down: false,
    maxAgeSeconds: 300,
    calls: 0,
    async fetch() {
      this.calls++;
      if (this.down) throw new Error("vault is away");
      return {
        jwksJson: JSON.stringify({ keys: this.keys.map((key) => key.jwk) }),
        maxAgeSeconds: this.maxAgeSeconds,
      };
    },
  };
}

export function clockAtNow(): ManualClock {
  return createManualClock(NOW_MS);
}

export const silent = createSilentLogger();
