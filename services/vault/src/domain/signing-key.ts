import type { webcrypto } from "node:crypto";
import type { SealedBox } from "./sealed-box.ts";

/** A key of the platform's WebCrypto. */
export type CryptoKey = webcrypto.CryptoKey;

/** A JSON Web Key (RFC 7517), as much of it as vault looks at. */
export type Jwk = webcrypto.JsonWebKey;

/** Where a signing key stands: published only, signing, or still verifying what it signed. */
export type SigningKeyState = "next" | "current" | "previous";

/** A signing key as stored. */
export interface SigningKeyRow {
  readonly kid: string;
  readonly state: SigningKeyState;
  readonly publicJwk: Jwk;
  /** Sealed private JWK; undefined for a previous key. */
  readonly privateBox: SealedBox | undefined;
  readonly publishedAtMs: number;
  readonly activatedAtMs: number | undefined;
}

/** A signing key about to be stored. */
export interface NewSigningKey {
  readonly kid: string;
  readonly state: "next" | "current";
  readonly publicJwk: Jwk;
  readonly privateBox: SealedBox;
  readonly tokenTtlMs: number;
}

/** A key that one replica publishes is known to all of them within this time: they read the keys every second. */
export const KEY_SPREAD_MS = 2000;

/** The ages that govern rotation. */
export interface RotationPolicy {
  /** A key signs for at most this long. */
  readonly rotateAfterMs: number;
  /** A key is published at least this long before it signs: longer than the spread to all replicas and the time
   * that a verifier keeps its key set together. */
  readonly overlapMs: number;
}

/** Milliseconds until the next key may sign; 0 when it may. */
export function promotionDelayMs(
  next: SigningKeyRow,
  nowMs: number,
  policy: RotationPolicy,
): number {
  return Math.max(0, next.publishedAtMs + policy.overlapMs - nowMs);
}

/** Says whether the current key has signed for long enough and the next one may take over. */
export function isRotationDue(
  keys: readonly SigningKeyRow[],
  nowMs: number,
  policy: RotationPolicy,
): boolean {
  const current = keys.find((key) => key.state === "current");
  const next = keys.find((key) => key.state === "next");
  if (current?.activatedAtMs === undefined || next === undefined) return false;
  if (nowMs - current.activatedAtMs < policy.rotateAfterMs) return false;
  return promotionDelayMs(next, nowMs, policy) === 0;
}

/** The associated data of a sealed private key. */
export function signingKeyBoxName(kid: string): string {
  return `signing-key/${kid}`;
}
