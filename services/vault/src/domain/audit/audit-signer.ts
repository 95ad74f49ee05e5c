import { type NoteSigner, rawPublicKey } from "@nexus/merkle";
import type { CryptoManager } from "../crypto-manager.ts";
import { vaultSealed } from "../errors.ts";
import { importEd25519Seed, newKeyMaterial } from "../keys/key-material.ts";
import type { BoxStore } from "../sealed-box.ts";
import type { SealedPart } from "../secure-vault.ts";

/** The sealed key that signs checkpoints, and nothing else. */
const AUDIT_KEY = "audit-key/1";

/** The key of the audit log, while vault is open. */
export class AuditSigner implements SealedPart {
  readonly #origin: string;
  readonly #crypto: CryptoManager;
  readonly #boxes: BoxStore;
  #key: NoteSigner | undefined;

  /** `origin` is the log's name in its checkpoints. */
  constructor(origin: string, deps: { readonly crypto: CryptoManager; readonly boxes: BoxStore }) {
    this.#origin = origin;
    this.#crypto = deps.crypto;
    this.#boxes = deps.boxes;
  }

  get isOpen(): boolean {
    return this.#key !== undefined;
  }

  /** Errors: precondition/VAULT_SEALED. */
  key(): NoteSigner {
    if (this.#key === undefined) throw vaultSealed();
    return this.#key;
  }

  async open(): Promise<void> {
    const box = await this.#boxes.ensure(AUDIT_KEY, () => {
      const { secret } = newKeyMaterial("ed25519");
      const sealed = this.#crypto.seal(AUDIT_KEY, secret);
      secret.fill(0);
      return sealed;
    });
    const seed = this.#crypto.open(AUDIT_KEY, box);
    const privateKey = importEd25519Seed(seed);
    seed.fill(0);
    this.#key = { name: this.#origin, publicKey: rawPublicKey(privateKey), privateKey };
  }

  close(): void {
    this.#key = undefined;
  }
}
