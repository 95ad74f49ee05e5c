/** Encrypting and decrypting with a key that vault holds, and the bare cipher that bounds it. */
import { createCipheriv, randomBytes, randomUUID } from "node:crypto";
import type { NexusClient } from "@nexus/sdk";
import { monotonicMs } from "../machine-clock.ts";
import { runSaturated, type Stretch } from "../pace.ts";
import { type Distribution, describeValues } from "../statistics.ts";

const KEY_BYTES = 32;
const IV_BYTES = 12;
/** Messages between two looks at the clock. */
const MESSAGES_A_LOOK = 100;

/** How to use the key. */
export interface TransitOptions extends Stretch {
  readonly keyName: string;
  readonly operation: "encrypt" | "decrypt";
  readonly plaintextBytes: number;
  /** Messages in one call; 1 takes the call for a single one. */
  readonly batch: number;
  /** Calls. */
  readonly inFlight: number;
}

/** Messages a second, and how long a call took. */
export interface TransitRate {
  readonly perSecond: number;
  readonly latencyMs: Distribution;
  readonly failed: number;
  readonly failure: string | undefined;
}

/** Makes a key of the default kind: each message under a key of its own, committed to. Returns its name. */
export async function createTransitKey({ keys }: NexusClient): Promise<string> {
  const name = `bench-${randomUUID()}`;
  await keys.createKey({ requestId: name, name });
  return name;
}

/** Uses the key as fast as the answers come. A message that fails within a batch fails the call. */
export async function useTransitKey(
  client: NexusClient,
  options: TransitOptions,
): Promise<TransitRate> {
  const { batch, operation } = options;
  const call =
    operation === "encrypt" ? encryptionOf(client, options) : await decryptionOf(client, options);
  const { latenciesMs, perSecond, ...rest } = await runSaturated(options, call);
  return { ...rest, perSecond: perSecond * batch, latencyMs: describeValues(latenciesMs) };
}

const CONTEXT = { resourceType: "order", resourceId: "4711", associatedData: new Uint8Array() };

function encryptionOf(
  { transit }: NexusClient,
  { keyName, batch, plaintextBytes }: TransitOptions,
): () => Promise<void> {
  const item = { plaintext: randomBytes(plaintextBytes), context: CONTEXT };
  if (batch === 1) {
    return async () => {
      await transit.encrypt({ keyName, ...item });
    };
  }
  const items = Array.from({ length: batch }, () => item);
  return async () => assertNoneFailed((await transit.encryptBatch({ keyName, items })).results);
}

async function decryptionOf(
  { transit }: NexusClient,
  { keyName, batch, plaintextBytes }: TransitOptions,
): Promise<() => Promise<void>> {
  const plaintext = randomBytes(plaintextBytes);
  const { ciphertext } = await transit.encrypt({ keyName, plaintext, context: CONTEXT });
  const item = { ciphertext, context: CONTEXT };
  if (batch === 1) {
    return async () => {
      await transit.decrypt({ keyName, ...item });
    };
  }
  const items = Array.from({ length: batch }, () => item);
  return async () => assertNoneFailed((await transit.decryptBatch({ keyName, items })).results);
}

function assertNoneFailed(
  results: readonly { readonly outcome: { readonly case: string | undefined } }[],
): void {
  const failed = results.filter(({ outcome }) => outcome.case === "error").length;
  if (failed > 0) throw new Error(`${failed} of ${results.length} messages failed`);
}

/** What to encrypt without vault. */
export interface BareCipherOptions {
  readonly plaintextBytes: number;
  readonly measureMs: number;
}

/** Encrypts with AES-256-GCM in this process, one message after the other under one key; returns messages a second. */
export async function encryptBare({
  plaintextBytes,
  measureMs,
}: BareCipherOptions): Promise<number> {
  const key = randomBytes(KEY_BYTES);
  const plaintext = randomBytes(plaintextBytes);
  const beganAtMs = monotonicMs();
  let encrypted = 0;
  while (monotonicMs() - beganAtMs < measureMs) {
    for (let message = 0; message < MESSAGES_A_LOOK; message += 1) {
      const cipher = createCipheriv("aes-256-gcm", key, randomBytes(IV_BYTES));
      Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    }
    encrypted += MESSAGES_A_LOOK;
  }
  return (encrypted / (monotonicMs() - beganAtMs)) * 1_000;
}
