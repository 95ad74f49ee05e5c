/** Password logins, and the bare hash that bounds them. */
import { pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import type { NexusClient } from "@nexus/sdk";
import { runSaturated, type SaturateResult, type Stretch } from "../pace.ts";

const SALT_BYTES = 16;
const HASH_BYTES = 32;
const derive = promisify(pbkdf2);

/** Who logs in, and how many at a time. */
export interface LoginOptions extends Stretch {
  readonly principalId: string;
  readonly password: string;
  readonly inFlight: number;
}

/** Logs in as fast as the answers come. */
export function logIn(client: NexusClient, options: LoginOptions): Promise<SaturateResult> {
  const { principalId, password } = options;
  return runSaturated(options, async () => {
    await client.auth.login({ principalId, password });
  });
}

/** How to hash. */
export interface HashOptions extends Stretch {
  readonly iterations: number;
  readonly inFlight: number;
}

/** Computes PBKDF2-HMAC-SHA256 as fast as this machine does. */
export function hashPasswords(options: HashOptions): Promise<SaturateResult> {
  const password = randomBytes(SALT_BYTES).toString("base64");
  const salt = randomBytes(SALT_BYTES);
  return runSaturated(options, async () => {
    await derive(password, salt, options.iterations, HASH_BYTES, "sha256");
  });
}
