import { type Ids, SYSTEM_NAMESPACE } from "@nexus/shared";
import type { TokenFormat } from "./ports.ts";
import type { SigningKeyRing } from "./signing-key-ring.ts";

/** What vault needs to sign tokens for itself. */
export interface OwnTokensOptions {
  readonly keys: SigningKeyRing;
  readonly tokens: TokenFormat;
  readonly ids: Ids;
  /** The database's time: others compare it with theirs. */
  readonly nowMs: () => number;
  readonly ttlMs: number;
}

/** What vault may do when it acts for itself. */
const SCOPES: readonly string[] = ["orchestrator:lease:check"];
/** A token is replaced when a fifth of its life is left, and at once when the clock has stepped back before its issue. */
const RENEW_AT_LIFE_SHARE = 0.8;

/** The tokens with which vault calls other services: it signs them itself, so it needs no secret and no principal. */
export class OwnTokens {
  readonly #options: OwnTokensOptions;
  #current: { readonly token: string; readonly issuedAtMs: number } | undefined;

  constructor(options: OwnTokensOptions) {
    this.#options = options;
  }

  /** Errors: precondition/VAULT_SEALED; unavailable/NOT_READY. */
  async token(): Promise<string> {
    const { keys, tokens, ids, nowMs, ttlMs } = this.#options;
    const issuedAtMs = nowMs();
    const ageMs = issuedAtMs - (this.#current?.issuedAtMs ?? Number.NEGATIVE_INFINITY);
    if (this.#current !== undefined && ageMs >= 0 && ageMs < ttlMs * RENEW_AT_LIFE_SHARE) {
      return this.#current.token;
    }
    const subject = {
      namespace: SYSTEM_NAMESPACE,
      principalId: "vault",
      kind: "service" as const,
      scopes: SCOPES,
      tokenId: ids.next("tok"),
      familyId: ids.next("fam"),
      issuedAtMs,
      expiresAtMs: issuedAtMs + ttlMs,
    };
    const token = await tokens.sign(subject, await keys.signer());
    this.#current = { token, issuedAtMs };
    return token;
  }
}
