import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { RESUME_TOKEN_BYTES } from "../limits.ts";

/** Makes a resume token: 256 random bits. Whoever holds it, and the agent's own token, continues the session. */
export function createResumeToken(): string {
  return randomBytes(RESUME_TOKEN_BYTES).toString("base64url");
}

/** Hashes a token for keeping. Unsalted SHA-256 is enough for 256 random bits: there is nothing to guess. */
export function hashResumeToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** Compares two hashes in constant time. */
export function sameResumeHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
