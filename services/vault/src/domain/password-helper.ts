import type { AdmissionGate } from "./admission-gate.ts";
import { invalidField } from "./errors.ts";
import {
  hashPassword,
  isBelowPolicy,
  matchesPassword,
  tryParsePasswordHash,
} from "./password-hash.ts";

/** What a PasswordHelper needs. */
export interface PasswordHelperOptions {
  readonly iterations: number;
  /** Another one than logins have, so that no tenant's helpers keep people from logging in. */
  readonly gate: AdmissionGate;
}

/** A hash with more work is not checked: it is somebody else's, or an attempt to keep the queue busy. */
const VERIFY_ITERATIONS_MAX = 2_000_000;

/** PBKDF2 for the passwords of others: hashing and checking, a bounded number at a time. */
export class PasswordHelper {
  readonly #options: PasswordHelperOptions;

  constructor(options: PasswordHelperOptions) {
    this.#options = options;
  }

  /** Errors: exhausted/LOGIN_BUSY. */
  hash(password: string, signal?: AbortSignal): Promise<string> {
    const { gate, iterations } = this.#options;
    return gate.run(() => hashPassword(password, { iterations }), signal);
  }

  /** Errors: exhausted/LOGIN_BUSY; invalid/REQUEST_INVALID for a text that is no PHC string of hash(). */
  async verify(
    password: string,
    phc: string,
    signal?: AbortSignal,
  ): Promise<{ readonly valid: boolean; readonly outdated: boolean }> {
    const { gate, iterations } = this.#options;
    const parsed = tryParsePasswordHash(phc);
    // Peppered: taken from vault's own table, which is nobody's to check against.
    const isVaults = parsed?.pepper !== undefined;
    if (parsed === undefined || isVaults || parsed.iterations > VERIFY_ITERATIONS_MAX) {
      throw invalidField("phc", "must be a string of HashPassword");
    }
    const valid = await gate.run(() => matchesPassword(phc, password), signal);
    return { valid, outdated: isBelowPolicy(phc, { iterations }) };
  }
}
