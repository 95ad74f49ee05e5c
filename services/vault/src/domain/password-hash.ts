import { createHmac, type KeyObject, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/** A password hash taken apart. */
export interface PasswordHash {
  readonly iterations: number;
  readonly salt: Buffer;
  /** What PBKDF2 gave, or with a pepper the HMAC of that. */
  readonly derived: Buffer;
  /** The version of the pepper that has to be known to check it; undefined when none is in it. */
  readonly pepper: number | undefined;
}

/** A key that is not in the database in clear: who steals the table alone can guess nothing. */
export interface Pepper {
  /** From 1 up. */
  readonly version: number;
  readonly key: KeyObject;
}

/** How new hashes are made. */
export interface PasswordPolicy {
  readonly iterations: number;
  readonly pepper?: Pepper | undefined;
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

/** The highest version of a pepper: its digits in a hash are bounded. */
export const PEPPER_VERSION_MAX = 999;

/** `k` is the version of the pepper. */
const PHC =
  /^\$pbkdf2-sha256\$i=([1-9][0-9]{0,8}),l=32(?:,k=([1-9][0-9]{0,2}))?\$([A-Za-z0-9+/]{22,86})\$([A-Za-z0-9+/]{43})$/;

/** PBKDF2-HMAC-SHA256 (RFC 8018) on the thread pool, so that the event loop stays free. Every password hash of vault goes through
 * here, and through Node's function as it is at the moment: the work of a login is counted there. */
export function pbkdf2Sha256(
  password: Uint8Array,
  salt: Uint8Array,
  options: { readonly iterations: number; readonly lengthBytes: number },
): Promise<Buffer> {
  const { iterations, lengthBytes } = options;
  return promisify(pbkdf2)(password, salt, iterations, lengthBytes, "sha256");
}

/** One password, one form: the same text typed on two keyboards gives the same bytes. */
function passwordBytes(password: string): Buffer {
  return Buffer.from(password.normalize("NFKC"), "utf8");
}

function unpadded(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}

/** Writes the PHC string `$pbkdf2-sha256$i=<iterations>,l=32$<salt>$<hash>`, base64 without padding; `,k=<version>` after
 * the length names the pepper in it. */
export function formatPasswordHash(hash: PasswordHash): string {
  const pepper = hash.pepper === undefined ? "" : `,k=${hash.pepper}`;
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
    pepper: pepper === undefined ? undefined : Number(pepper),
  };
}

/** Whoever lacks the pepper cannot tell a right guess from a wrong one. */
function addPepper(derived: Buffer, pepper: Pepper | undefined): Buffer {
  return pepper === undefined ? derived : createHmac("sha256", pepper.key).update(derived).digest();
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
    const withPepper = addPepper(derived, pepper);
    return formatPasswordHash({ iterations, salt, derived: withPepper, pepper: pepper?.version });
  } finally {
    bytes.fill(0);
  }
}

/** Says whether a hash can be read and checked with this pepper, or needs none. */
export function isCheckable(phc: string, pepper: Pepper | undefined): boolean {
  const hash = tryParsePasswordHash(phc);
  return hash !== undefined && (hash.pepper === undefined || hash.pepper === pepper?.version);
}

/** Says whether the password gives the stored hash; compares in constant time. False, without work, for a hash that is not
 * checkable with this pepper. */
export async function matchesPassword(
  phc: string,
  password: string,
  pepper?: Pepper,
): Promise<boolean> {
  const hash = tryParsePasswordHash(phc);
  if (hash === undefined || !isCheckable(phc, pepper)) return false;
  const bytes = passwordBytes(password);
  try {
    const derived = await pbkdf2Sha256(bytes, hash.salt, {
      iterations: hash.iterations,
      lengthBytes: DERIVED_BYTES,
    });
    const own = hash.pepper === undefined ? undefined : pepper;
    return timingSafeEqual(addPepper(derived, own), hash.derived);
  } finally {
    bytes.fill(0);
  }
}

/** Says whether a stored hash is weaker than today's policy, so that the next login should replace it. One with a newer pepper is
 * left alone: whoever has that pepper sees to it, and here it would be taken back. */
export function isBelowPolicy(phc: string, { iterations, pepper }: PasswordPolicy): boolean {
  const hash = tryParsePasswordHash(phc);
  if (hash === undefined) return true;
  const newer = (pepper?.version ?? 0) - (hash.pepper ?? 0);
  return newer > 0 || (newer === 0 && hash.iterations < iterations);
}

/** Does the work that a hash of earlier days saves against today's policy: how long a wrong password takes must not tell that
 * there is such a hash. */
export async function makeUpFor(phc: string, { iterations }: PasswordPolicy): Promise<void> {
  const missing = iterations - (tryParsePasswordHash(phc)?.iterations ?? 0);
  if (missing <= 0) return;
  const options = { iterations: missing, lengthBytes: DERIVED_BYTES };
  await pbkdf2Sha256(Buffer.alloc(0), randomBytes(SALT_BYTES), options);
}

/** A hash that no password matches but which costs as much to check: for names that do not exist. */
export function dummyPasswordHash(iterations: number, pepper: number): string {
  return formatPasswordHash({
    iterations,
    salt: randomBytes(SALT_BYTES),
    derived: randomBytes(DERIVED_BYTES),
    pepper,
  });
}
