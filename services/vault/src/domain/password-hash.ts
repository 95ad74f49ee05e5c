import { createHmac, type KeyObject, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/** A password hash taken apart. */
export interface PasswordHash {
  readonly iterations: number;
  readonly salt: Buffer;
  /** What PBKDF2 gave, or with a pepper the HMAC of that. */
  readonly derived: Buffer;
  /** True when a key outside of the database has to be known to check it. */
  readonly peppered: boolean;
}

/** How new hashes are made. */
export interface PasswordPolicy {
  readonly iterations: number;
  /** A key that is not in the database in clear: who steals the table alone can guess nothing. */
  readonly pepper?: KeyObject | undefined;
}

/** OWASP Password Storage Cheat Sheet (2026): PBKDF2-HMAC-SHA256 with 600 000 iterations. */
export const PASSWORD_ITERATIONS_DEFAULT = 600_000;
/** Below this a hash is worth guessing; the configuration refuses less. */
export const PASSWORD_ITERATIONS_MIN = 100_000;
/** A stored hash with more is not believed: checking it would be a denial of service. */
const PASSWORD_ITERATIONS_MAX = 10_000_000;
/** NIST SP 800-132 section 5.1 asks for at least 128 bits of salt. */
const SALT_BYTES = 16;
const DERIVED_BYTES = 32;

/** `k` names the pepper; there is one so far. */
const PHC =
  /^\$pbkdf2-sha256\$i=([1-9][0-9]{0,8}),l=32(,k=1)?\$([A-Za-z0-9+/]{22,86})\$([A-Za-z0-9+/]{43})$/;
const derive = promisify(pbkdf2);

/** PBKDF2-HMAC-SHA256 (RFC 8018) on the thread pool, so that the event loop stays free. */
export function pbkdf2Sha256(
  password: Uint8Array,
  salt: Uint8Array,
  options: { readonly iterations: number; readonly lengthBytes: number },
): Promise<Buffer> {
  return derive(password, salt, options.iterations, options.lengthBytes, "sha256");
}

/** One password, one form: the same text typed on two keyboards gives the same bytes. */
function passwordBytes(password: string): Buffer {
  return Buffer.from(password.normalize("NFKC"), "utf8");
}

function unpadded(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}

/** Writes the PHC string `$pbkdf2-sha256$i=<iterations>,l=32$<salt>$<hash>`, base64 without padding; `,k=1` after the
 * length says that the hash is peppered. */
export function formatPasswordHash(hash: PasswordHash): string {
  const pepper = hash.peppered ? ",k=1" : "";
  return `$pbkdf2-sha256$i=${hash.iterations},l=${DERIVED_BYTES}${pepper}$${unpadded(hash.salt)}$${unpadded(hash.derived)}`;
}

/** Reads a PHC string of formatPasswordHash; undefined for anything else. */
export function tryParsePasswordHash(phc: string): PasswordHash | undefined {
  const [, iterations = "", pepper, salt = "", derived = ""] = PHC.exec(phc) ?? [];
  const count = Number(iterations);
  if (iterations === "" || count > PASSWORD_ITERATIONS_MAX) return undefined;
  return {
    iterations: count,
    salt: Buffer.from(salt, "base64"),
    derived: Buffer.from(derived, "base64"),
    peppered: pepper !== undefined,
  };
}

/** Whoever lacks the pepper cannot tell a right guess from a wrong one. */
function addPepper(derived: Buffer, pepper: KeyObject | undefined): Buffer {
  return pepper === undefined ? derived : createHmac("sha256", pepper).update(derived).digest();
}

/** Hashes a new password with a salt of its own. */
export async function hashPassword(
  password: string,
  { iterations, pepper }: PasswordPolicy,
): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const bytes = passwordBytes(password);
  try {
    const derived = await pbkdf2Sha256(bytes, salt, { iterations, lengthBytes: DERIVED_BYTES });
    const peppered = pepper !== undefined;
    return formatPasswordHash({ iterations, salt, derived: addPepper(derived, pepper), peppered });
  } finally {
    bytes.fill(0);
  }
}

/** Says whether the password gives the stored hash; compares in constant time. False for an unreadable hash, and for a
 * peppered one when no pepper is given. */
export async function matchesPassword(
  phc: string,
  password: string,
  pepper?: KeyObject,
): Promise<boolean> {
  const hash = tryParsePasswordHash(phc);
  if (hash === undefined || (hash.peppered && pepper === undefined)) return false;
  const bytes = passwordBytes(password);
  try {
    const derived = await pbkdf2Sha256(bytes, hash.salt, {
      iterations: hash.iterations,
      lengthBytes: DERIVED_BYTES,
    });
    return timingSafeEqual(addPepper(derived, hash.peppered ? pepper : undefined), hash.derived);
  } finally {
    bytes.fill(0);
  }
}

/** Says whether a stored hash is weaker than today's policy, so that the next login should replace it. */
export function isBelowPolicy(phc: string, { iterations, pepper }: PasswordPolicy): boolean {
  const hash = tryParsePasswordHash(phc);
  if (hash === undefined || hash.iterations < iterations) return true;
  return pepper !== undefined && !hash.peppered;
}

/** A hash that no password matches but which costs as much to check: for names that do not exist. */
export function dummyPasswordHash(iterations: number): string {
  return formatPasswordHash({
    iterations,
    salt: randomBytes(SALT_BYTES),
    derived: randomBytes(DERIVED_BYTES),
    peppered: true,
  });
}
