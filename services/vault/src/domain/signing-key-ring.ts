import type { Clock, Ids } from "@nexus/shared";
import { NexusError, SYSTEM_NAMESPACE } from "@nexus/shared";
import { coalesced } from "./coalesced.ts";
import type { CryptoManager } from "./crypto-manager.ts";
import { keyTooYoung, vaultSealed } from "./errors.ts";
import type {
  AuthEvents,
  SigningKeyReader,
  SigningKeyWriter,
  TokenFormat,
  Transactions,
} from "./ports.ts";
import type {
  CryptoKey,
  Jwk,
  NewSigningKey,
  RotationPolicy,
  SigningKeyRow,
} from "./signing-key.ts";
import { isRotationDue, promotionDelayMs, signingKeyBoxName } from "./signing-key.ts";

/** What a SigningKeyRing needs. */
export interface SigningKeyRingOptions {
  readonly keys: SigningKeyReader;
  readonly transactions: Transactions;
  readonly crypto: CryptoManager;
  readonly tokens: TokenFormat;
  readonly events: AuthEvents;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly policy: RotationPolicy;
  readonly accessTtlMs: number;
  readonly jwksMaxAgeMs: number;
}

/** The names of the keys after a rotation. */
export interface RotatedKeys {
  readonly currentKid: string;
  readonly nextKid: string;
}

interface LoadedKeys {
  readonly verifying: ReadonlyMap<string, CryptoKey>;
  readonly signer: { readonly kid: string; readonly privateKey: CryptoKey } | undefined;
  readonly jwksJson: string;
}

/** A replica that has not read the keys for this long reads them before it signs: another may have rotated them. */
const SIGNER_STALE_MS = 30_000;
/** How much longer than its tokens a previous key stays published: covers a replica that still signed with it
 * (SIGNER_STALE_MS) and the clock skew of verifiers. */
const RETIRE_MARGIN_MS = 60_000;
/** In the JWK set the signer comes first. */
const STATE_ORDER: Readonly<Record<SigningKeyRow["state"], number>> = {
  current: 0,
  next: 1,
  previous: 2,
};

/** The signing keys of access tokens: makes, seals, publishes, rotates and retires them. Without a private part, while
 * vault is sealed, it only publishes and verifies.
 *
 * Postgres holds the truth; each replica keeps the imported keys in memory and reads them again every few seconds.
 * A key is published as `next` long before it signs, and as `previous` until its last token has ended, so a rotation
 * is never noticed by a verifier. A previous key has no private part left. */
export class SigningKeyRing {
  readonly #options: SigningKeyRingOptions;
  #loaded: LoadedKeys = { verifying: new Map(), signer: undefined, jwksJson: '{"keys":[]}' };
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #epoch = 0;

  constructor(options: SigningKeyRingOptions) {
    this.#options = options;
  }

  /** Makes the first two keys if there are none, and loads all. Errors: data_loss/SEALED_KEY_UNREADABLE. */
  async open(): Promise<void> {
    const { transactions, keys, accessTtlMs } = this.#options;
    await transactions.run(async ({ signingKeys }) => {
      const { keys: existing } = await signingKeys.lockAll();
      if (existing.length > 0) return;
      await signingKeys.insert(await this.#newKey("current"));
      await signingKeys.insert(await this.#newKey("next"));
    });
    await keys.raiseTokenTtl(accessTtlMs);
    await this.reload();
  }

  /** Drops the private key, as a seal does. Public keys stay: tokens go on verifying. */
  forgetSigner(): void {
    this.#loaded = { ...this.#loaded, signer: undefined };
  }

  /** Reads the keys as they were committed before this call. Errors: data_loss/SEALED_KEY_UNREADABLE. */
  readonly reload: () => Promise<void> = coalesced(async () => {
    const { crypto, clock, keys } = this.#options;
    const startedMs = clock.nowMs();
    const rows = await keys.list();
    const loaded = await this.#load(rows);
    const withdrawn = [...this.#loaded.verifying.keys()].some((kid) => !loaded.verifying.has(kid));
    if (withdrawn) this.#epoch++;
    // Sealed while the rows were read: the signer goes with the other keys.
    this.#loaded = crypto.isOpen ? loaded : { ...loaded, signer: undefined };
    this.#loadedAtMs = startedMs;
  });

  /** The key that signs now. Reads the keys first when they were not read lately, as after an outage.
   * Errors: unavailable/NOT_READY when there is no signer; unavailable when the database is away. */
  async signer(): Promise<{ readonly kid: string; readonly privateKey: CryptoKey }> {
    const ageMs = this.#options.clock.nowMs() - this.#loadedAtMs;
    if (ageMs > SIGNER_STALE_MS) await this.reload();
    if (this.#loaded.signer !== undefined) return this.#loaded.signer;
    if (!this.#options.crypto.isOpen) throw vaultSealed();
    throw new NexusError({
      kind: "unavailable",
      reason: "NOT_READY",
      message: "There is no signing key.",
    });
  }

  /** The public key with this id. */
  async find(kid: string): Promise<CryptoKey | undefined> {
    return this.#loaded.verifying.get(kid);
  }

  /** Grows whenever a key was withdrawn. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The key set as vault publishes it. */
  jwks(): { readonly jwksJson: string; readonly maxAgeSeconds: number } {
    return {
      jwksJson: this.#loaded.jwksJson,
      maxAgeSeconds: Math.floor(this.#options.jwksMaxAgeMs / 1000),
    };
  }

  /** Rotates inside a transaction: next becomes current, current becomes previous, another next is published.
   * Reload after the commit. Errors: precondition/KEY_TOO_YOUNG with the time to wait. */
  async rotate(signingKeys: SigningKeyWriter): Promise<RotatedKeys> {
    const { keys, nowMs } = await signingKeys.lockAll();
    const next = keys.find((key) => key.state === "next");
    if (next === undefined) throw new Error("There is no next signing key.");
    const delayMs = promotionDelayMs(next, nowMs, this.#options.policy);
    if (delayMs > 0) throw keyTooYoung(delayMs);
    const fresh = await this.#newKey("next");
    await signingKeys.demoteCurrent(RETIRE_MARGIN_MS);
    await signingKeys.promoteNext();
    await signingKeys.insert(fresh);
    return { currentKid: next.kid, nextKid: fresh.kid };
  }

  /** Rotates if the current key is old enough and removes previous keys whose tokens have ended. */
  async maintain(): Promise<void> {
    const { transactions, policy, events } = this.#options;
    const rotated = await transactions.run(async ({ signingKeys, audit }) => {
      const { keys, nowMs } = await signingKeys.lockAll();
      await signingKeys.deleteEnded();
      if (!isRotationDue(keys, nowMs, policy)) return undefined;
      const rotation = await this.rotate(signingKeys);
      const facts = { namespace: SYSTEM_NAMESPACE, resource: rotation.currentKid };
      await audit.enter("vault:scheduled-signing-key-rotation", facts);
      return rotation;
    });
    if (rotated !== undefined) events.signingKeyRotated(rotated.currentKid, rotated.nextKid);
    await this.reload();
  }

  async #newKey<S extends NewSigningKey["state"]>(state: S): Promise<NewSigningKey> {
    const { ids, tokens, crypto, accessTtlMs } = this.#options;
    const kid = ids.next("key");
    const { publicJwk, privateJwk } = await tokens.newSigningKey(kid);
    const privateBox = crypto.seal(
      signingKeyBoxName(kid),
      Buffer.from(JSON.stringify(privateJwk), "utf8"),
    );
    return { kid, state, publicJwk, privateBox, tokenTtlMs: accessTtlMs };
  }

  async #load(rows: readonly SigningKeyRow[]): Promise<LoadedKeys> {
    const { tokens } = this.#options;
    const ordered = [...rows].sort((a, b) => STATE_ORDER[a.state] - STATE_ORDER[b.state]);
    const verifying = new Map<string, CryptoKey>();
    for (const { kid, publicJwk } of ordered) {
      verifying.set(kid, this.#loaded.verifying.get(kid) ?? (await tokens.importKey(publicJwk)));
    }
    const current = ordered.find((row) => row.state === "current");
    return {
      verifying,
      signer: current === undefined ? undefined : await this.#openSigner(current),
      jwksJson: JSON.stringify({ keys: ordered.map((row) => row.publicJwk) }),
    };
  }

  async #openSigner(row: SigningKeyRow): Promise<LoadedKeys["signer"]> {
    const { crypto, tokens } = this.#options;
    if (row.privateBox === undefined || !crypto.isOpen) return undefined;
    if (this.#loaded.signer?.kid === row.kid) return this.#loaded.signer;
    const plaintext = crypto.open(signingKeyBoxName(row.kid), row.privateBox);
    const privateJwk = JSON.parse(plaintext.toString("utf8")) as Jwk;
    plaintext.fill(0);
    const privateKey = await tokens.importKey(privateJwk);
    // Sealed meanwhile: the key goes with the others.
    return crypto.isOpen ? { kid: row.kid, privateKey } : undefined;
  }
}
