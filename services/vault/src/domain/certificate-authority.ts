import { type Ids, SYSTEM_NAMESPACE } from "@nexus/shared";
import {
  type AuthorityRow,
  authorityBoxName,
  CA_LIFE_MS,
  type CertificateNames,
  caPublishMs,
  caRetireMs,
  foreignNames,
  KEY_KEPT_MS,
  signerOf,
  toBundle,
} from "./authority.ts";
import type { CryptoManager } from "./crypto-manager.ts";
import { caRotationPending, certificateNameForbidden } from "./errors.ts";
import type {
  AuthorityReader,
  AuthorityWriter,
  CertificateFormat,
  Transaction,
  Transactions,
} from "./ports.ts";

/** What happens to authorities and certificates. */
export interface CaEvents {
  authorityMade(caId: string, signsFromMs: number): void;
  certificateIssued(service: string, caId: string, notAfterMs: number): void;
}

/** What a CertificateAuthority needs. */
export interface CertificateAuthorityOptions {
  readonly authorities: AuthorityReader;
  readonly transactions: Transactions;
  readonly crypto: CryptoManager;
  readonly format: CertificateFormat;
  readonly events: CaEvents;
  readonly ids: Ids;
  /** Life of a service's certificate. */
  readonly certificateTtlMs: number;
  /** An authority signs for at most this long. */
  readonly rotationAgeMs: number;
  /** The names that a service gets. */
  readonly namesOf: (service: string) => CertificateNames;
}

/** A certificate and what to trust beside it. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  readonly trustBundlePem: string;
  readonly notAfterMs: number;
}

/** Certificates begin a little before they are issued, because clocks differ; short-lived ones less. */
const BACKDATE_MAX_MS = 60_000;
const BACKDATE_SHARE = 0.1;
/** How the audit log calls what happens without a call. */
const ROTATION = "vault:scheduled-ca-rotation";
const FIRST = "vault:first-ca";

/** Signs the certificates of services. Postgres holds the authorities, their keys sealed; nothing is kept in memory, because a
 * certificate is asked for once an hour and service. */
export class CertificateAuthority {
  readonly #options: CertificateAuthorityOptions;

  constructor(options: CertificateAuthorityOptions) {
    this.#options = options;
  }

  /** Issues a certificate to a service whose identity was proven. Errors: invalid/CERTIFICATE_REQUEST_INVALID,
   * forbidden/CERTIFICATE_NAME_FORBIDDEN, precondition/VAULT_SEALED. */
  async issue(service: string, requestPem: string): Promise<IssuedCertificate> {
    const { format, crypto, events, namesOf, certificateTtlMs } = this.#options;
    const request = await format.readRequest(requestPem);
    const names = namesOf(service);
    const foreign = foreignNames(request.names, names);
    if (foreign !== undefined) throw certificateNameForbidden(foreign);
    const { rows, nowMs } = await this.#trustedRows();
    const signer = signerOf(rows, nowMs);
    const key = crypto.open(authorityBoxName(signer.caId), signer.keyBox);
    const backdateMs = Math.min(BACKDATE_MAX_MS, certificateTtlMs * BACKDATE_SHARE);
    const notAfterMs = Math.min(
      nowMs + certificateTtlMs,
      signer.notAfterMs,
      signer.trustedUntilMs ?? Number.POSITIVE_INFINITY,
    );
    const certificatePem = await format.issue({
      authority: { certPem: signer.certPem, keyPem: key.toString("utf8") },
      request,
      names,
      commonName: service,
      notBefore: new Date(nowMs - backdateMs),
      notAfter: new Date(notAfterMs),
    });
    key.fill(0);
    events.certificateIssued(service, signer.caId, notAfterMs);
    return { certificatePem, trustBundlePem: toBundle(rows), notAfterMs };
  }

  /** The authorities that are trusted now, oldest first. */
  async trusted(): Promise<readonly AuthorityRow[]> {
    return (await this.#options.authorities.list()).rows;
  }

  /** Makes the next authority, inside a transaction; the first signs at once. Tell of it with announce() after the commit.
   * Errors: precondition/CA_ROTATION_PENDING with the time to wait; precondition/VAULT_SEALED. */
  async rotate(writer: AuthorityWriter): Promise<AuthorityRow> {
    const { rows, nowMs } = await writer.lockAll();
    const pending = rows.find((row) => row.signsFromMs > nowMs);
    if (pending !== undefined) throw caRotationPending(pending.signsFromMs - nowMs);
    const { certificateTtlMs } = this.#options;
    const signsFromMs = rows.length === 0 ? nowMs : nowMs + caPublishMs(certificateTtlMs);
    await writer.retireAll(signsFromMs + caRetireMs(certificateTtlMs));
    const row = await this.#newAuthority(nowMs, signsFromMs);
    await writer.insert(row);
    return row;
  }

  /** Reports an authority that rotate() made. */
  announce({ caId, signsFromMs }: Pick<AuthorityRow, "caId" | "signsFromMs">): void {
    this.#options.events.authorityMade(caId, signsFromMs);
  }

  /** Makes the next authority when the newest is old enough, drops the keys of those that no longer sign, and removes those whose
   * certificates have all ended. Without any authority it does nothing. */
  async maintain(): Promise<void> {
    const { transactions, rotationAgeMs } = this.#options;
    const made = await transactions.run(async (tx) => {
      const { rows, nowMs } = await tx.authorities.lockAll();
      await tx.authorities.deleteEnded(nowMs);
      const newest = rows.at(-1);
      if (newest === undefined) return undefined;
      await tx.authorities.dropOldKeys(nowMs - KEY_KEPT_MS);
      return nowMs - newest.signsFromMs >= rotationAgeMs ? this.#make(tx, ROTATION) : undefined;
    });
    if (made !== undefined) this.announce(made);
  }

  /** All authorities, after the first was made. */
  async #trustedRows() {
    const { authorities, transactions } = this.#options;
    const found = await authorities.list();
    if (found.rows.length > 0) return found;
    const made = await transactions.run(async (tx) => {
      const { rows } = await tx.authorities.lockAll();
      // Replicas that start together end up with the same one.
      return rows.length > 0 ? undefined : this.#make(tx, FIRST);
    });
    if (made !== undefined) this.announce(made);
    return authorities.list();
  }

  /** Makes the next authority by itself, and enters that. */
  async #make({ authorities, audit }: Transaction, action: string): Promise<AuthorityRow> {
    const made = await this.rotate(authorities);
    await audit.enter(action, { namespace: SYSTEM_NAMESPACE, resource: made.caId });
    return made;
  }

  async #newAuthority(nowMs: number, signsFromMs: number): Promise<AuthorityRow> {
    const { ids, format, crypto } = this.#options;
    const caId = ids.next("ca");
    const notAfterMs = nowMs + CA_LIFE_MS;
    const { certPem, keyPem } = await format.newAuthority({
      commonName: `NEXUS ${caId}`,
      notBefore: new Date(nowMs - BACKDATE_MAX_MS),
      notAfter: new Date(notAfterMs),
    });
    const keyBox = crypto.seal(authorityBoxName(caId), Buffer.from(keyPem, "utf8"));
    return { caId, certPem, keyBox, signsFromMs, notAfterMs, trustedUntilMs: undefined };
  }
}
