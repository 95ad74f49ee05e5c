import type { Namespace } from "@nexus/shared";
import type { AccessWriter } from "./access/ports.ts";
import type { AlertWriter } from "./anomaly/alert-ports.ts";
import type { AuthorityRow, CertificateNames } from "./authority.ts";
import type { KeyWriter } from "./keys/named-key.ts";
import type { Page, PageOf } from "./page.ts";
import type { PrincipalKind, PrincipalRecord, StoredPrincipal, TokenSubject } from "./principal.ts";
import type { NewRevocation, RevocationRecord } from "./revocation.ts";
import type { SecretWriter } from "./secrets/secret.ts";
import type { SecretLeaseWriter } from "./secrets/secret-lease.ts";
import type { CryptoKey, Jwk, NewSigningKey, SigningKeyRow } from "./signing-key.ts";

/** Names one principal. */
export interface PrincipalKey {
  readonly namespace: Namespace;
  readonly principalId: string;
}

/** Reads principals. */
export interface PrincipalReader {
  find(key: PrincipalKey): Promise<StoredPrincipal | undefined>;
  /** By id, after the row that the token names. Errors: invalid/PAGE_TOKEN_INVALID. */
  list(namespace: Namespace, page: PageOf): Promise<Page<PrincipalRecord>>;
}

/** A principal about to be stored. */
export interface NewPrincipal extends PrincipalKey {
  readonly kind: PrincipalKind;
  readonly scopes: readonly string[];
  readonly roles?: readonly string[];
  readonly passwordHash?: string;
  readonly secretDigest?: Buffer;
}

/** Changes principals, inside a transaction. */
export interface PrincipalWriter {
  /** Errors: exists/PRINCIPAL_EXISTS. */
  insert(principal: NewPrincipal): Promise<PrincipalRecord>;
  /** Locks the row until the transaction ends, so that no token is issued meanwhile. */
  lock(key: PrincipalKey): Promise<StoredPrincipal | undefined>;
  setDisabled(key: PrincipalKey, disabled: boolean): Promise<PrincipalRecord | undefined>;
  replaceSecret(key: PrincipalKey, digest: Buffer): Promise<void>;
  replacePassword(key: PrincipalKey, hash: string): Promise<void>;
}

/** What deployments and logins change about principals, outside of requests. */
export interface PrincipalUpkeep {
  /** False when the principal exists already; then nothing changes. */
  insertIfAbsent(principal: NewPrincipal): Promise<boolean>;
  /** Creates the service principal or brings its secret and scopes up to date. Says what happened. */
  upsertService(principal: NewPrincipal): Promise<"created" | "changed" | "unchanged">;
  /** Replaces a password hash, if it is still the one that was checked. */
  replacePasswordHash(key: PrincipalKey, from: string, to: string): Promise<void>;
  /** Counts the password hashes by the version of their pepper; those without one, and of disabled users, are left out. */
  countPeppers(): Promise<ReadonlyMap<number, number>>;
}

/** A family about to begin. */
export interface NewFamily extends PrincipalKey {
  readonly familyId: string;
  /** The version of the credential that was checked. */
  readonly credentialVersion: number;
  /** Absent for services, whose families have no row. */
  readonly refresh?: { readonly digest: Buffer; readonly ttlMs: number };
  /** Stored with the family. */
  readonly leaf?: AuditLeaf | undefined;
  /** Aborts when the caller is gone or its deadline is over: then a family that still waits for its principal is not begun. */
  readonly signal?: AbortSignal | undefined;
}

/** What the database said when it let a token be issued. */
export interface Issuance {
  readonly principal: PrincipalRecord;
  readonly familyId: string;
  /** Database time; not before any revocation that was committed earlier. */
  readonly issuedAtMs: number;
  readonly refreshExpiresAtMs: number | undefined;
}

/** Token families and their refresh tokens. */
export interface TokenFamilies {
  /** Begins a family; undefined when the principal is gone, disabled or has a newer credential by now.
   * Errors: conflict/LOCK_NOT_AVAILABLE when a concurrent change held the principal for 4.5 s. */
  start(family: NewFamily): Promise<Issuance | undefined>;
  /** Spends a refresh token and puts the next in its place, in one statement; undefined when it is not the live
   * token of a live family of an enabled principal. */
  rotate(
    spent: Buffer,
    next: { readonly digest: Buffer; readonly ttlMs: number },
    leaf?: AuditLeaf,
  ): Promise<Issuance | undefined>;
  /** Issues again for a token that was spent a moment ago, while the one that followed it is still the live one. */
  repeat(
    spent: Buffer,
    next: { readonly digest: Buffer; readonly graceMs: number },
  ): Promise<Issuance | undefined>;
}

/** Whose logins are counted: the digest of a name, whether or not anybody has it, and where the caller is. */
export interface LoginName {
  readonly namespace: Namespace;
  readonly digest: Buffer;
  /** What counts as one caller; empty when it is not known. */
  readonly address: string;
}

/** Counts failed logins. */
export interface LoginFailures {
  isLocked(name: LoginName): Promise<boolean>;
  /** Counts one more, unless the name is locked; true when that locks it. */
  add(name: LoginName): Promise<boolean>;
  /** Forgets the failures after a right password; false when the name was locked meanwhile. */
  clear(name: LoginName): Promise<boolean>;
}

/** Forgets failed logins, inside a transaction. */
export interface LoginFailureWriter {
  /** Those under a name, from wherever: it is open again. */
  forget(name: Omit<LoginName, "address">): Promise<void>;
}

/** Changes families, inside a transaction. */
export interface FamilyWriter {
  /** The family of a refresh token that was spent before. */
  findSpent(
    digest: Buffer,
  ): Promise<{ readonly namespace: Namespace; readonly familyId: string } | undefined>;
  revoke(namespace: Namespace, familyId: string): Promise<void>;
  /** Ends the families of a principal, but for one if it is named. */
  revokeAllOf(key: PrincipalKey, butFamilyId?: string): Promise<void>;
  revokeNamespace(namespace: Namespace): Promise<void>;
}

/** Adds revocations, inside a transaction; take it last, because it serialises all revocations until the commit. */
export interface RevocationWriter {
  add(revocation: NewRevocation): Promise<RevocationRecord>;
}

/** Reads revocations in the order of their revisions, which is the order of their commits. */
export interface RevocationReader {
  after(revision: bigint, limit: number): Promise<readonly RevocationRecord[]>;
}

/** Signing keys, inside a transaction that holds their lock. */
export interface SigningKeyWriter {
  /** Waits for every other transaction on the keys, then reads them and the database's time. */
  lockAll(): Promise<{ readonly keys: readonly SigningKeyRow[]; readonly nowMs: number }>;
  insert(key: NewSigningKey): Promise<void>;
  /** Makes the current key a previous one, drops its private part and sets when its last token ends. */
  demoteCurrent(marginMs: number): Promise<void>;
  /** Makes the next key the current one. */
  promoteNext(): Promise<void>;
  /** Removes previous keys whose tokens have all ended. */
  deleteEnded(): Promise<void>;
}

/** Reads signing keys. */
export interface SigningKeyReader {
  list(): Promise<readonly SigningKeyRow[]>;
  /** Notes the token life of this replica, so that no key and no revocation is forgotten before its tokens end. */
  raiseTokenTtl(ttlMs: number): Promise<void>;
}

/** The entry of the call that makes a change: stored in the transaction that makes it. */
export interface AuditLeaf {
  /** Says whom a proof proved, or whose it claimed to be. */
  note(facts: {
    readonly namespace?: string;
    readonly actor?: string;
    readonly actorKind?: string;
    readonly resource?: string;
    readonly fields?: Readonly<Record<string, string>>;
  }): void;
  draft(): Uint8Array;
  /** The transaction has been committed. */
  stored(): void;
}

/** Enters what vault does by itself, in the transaction that does it. */
export interface SystemAudit {
  enter(
    action: string,
    facts: { readonly namespace: string; readonly resource: string },
  ): Promise<void>;
}

/** The authorities that are trusted, oldest first, and the database's time. */
export interface ListedAuthorities {
  readonly rows: readonly AuthorityRow[];
  readonly nowMs: number;
}

/** Reads authorities. */
export interface AuthorityReader {
  list(): Promise<ListedAuthorities>;
}

/** Authorities, inside a transaction that holds their lock. */
export interface AuthorityWriter {
  /** Waits for every other transaction on the authorities, then reads them. */
  lockAll(): Promise<ListedAuthorities>;
  insert(authority: AuthorityRow): Promise<void>;
  /** Sets when those that nothing has replaced yet leave the bundle. */
  retireAll(atMs: number): Promise<void>;
  /** Drops the private keys of those whose successor signs since before that moment. */
  dropOldKeys(beforeMs: number): Promise<void>;
  /** Removes those that are no longer trusted. */
  deleteEnded(nowMs: number): Promise<void>;
}

/** A request for a certificate, read and proven. */
export interface CertificateRequest {
  /** Whatever the format needs of it. */
  readonly publicKey: CryptoKey;
  readonly names: CertificateNames;
}

/** An authority with its opened key. */
export interface OpenAuthority {
  readonly certPem: string;
  readonly keyPem: string;
}

/** The certificate format, which @nexus/pki owns. */
export interface CertificateFormat {
  newAuthority(wanted: {
    readonly commonName: string;
    readonly notBefore: Date;
    readonly notAfter: Date;
  }): Promise<OpenAuthority>;
  /** Errors: invalid/CERTIFICATE_REQUEST_INVALID. */
  readRequest(requestPem: string): Promise<CertificateRequest>;
  issue(wanted: {
    readonly authority: OpenAuthority;
    readonly request: CertificateRequest;
    readonly commonName: string;
    readonly names: CertificateNames;
    readonly notBefore: Date;
    readonly notAfter: Date;
  }): Promise<string>;
}

/** The stores of one transaction. */
export interface Transaction {
  readonly audit: SystemAudit;
  readonly principals: PrincipalWriter;
  readonly families: FamilyWriter;
  readonly loginFailures: LoginFailureWriter;
  readonly revocations: RevocationWriter;
  readonly signingKeys: SigningKeyWriter;
  readonly authorities: AuthorityWriter;
  readonly keys: KeyWriter;
  readonly secrets: SecretWriter;
  readonly secretLeases: SecretLeaseWriter;
  readonly alerts: AlertWriter;
  readonly access: AccessWriter;
}

/** Runs work in one transaction; the work may run again after a clash, so it has no other effects. */
export interface Transactions {
  run<T>(work: (tx: Transaction) => Promise<T>, leaf?: AuditLeaf): Promise<T>;
}

/** What makes a retry recognisable. */
export interface RequestKey {
  readonly caller: PrincipalKey;
  readonly requestId: string;
  /** Keyed digest of method and body. */
  readonly bodyDigest: Buffer;
  /** Stored with the change. */
  readonly audit?: AuditLeaf | undefined;
}

/** What a mutation answered, and whether it was an earlier call that did. */
export interface Answer<T> {
  readonly value: T;
  readonly replayed: boolean;
}

/** Mutations that happen once per request id. */
export interface Mutations {
  /** The stored answer of an earlier call. Errors: conflict/REQUEST_ID_REUSED. */
  replay<T>(key: RequestKey): Promise<Answer<T> | undefined>;
  /** Runs the work once: request, work and answer commit together; a retry gets the stored answer.
   *
   * The answer is stored as JSON, so it must be plain data and must hold no secret.
   * Errors: conflict/REQUEST_ID_REUSED; those of work, which leave nothing behind. */
  run<T>(key: RequestKey, work: (tx: Transaction) => Promise<T>): Promise<Answer<T>>;
}

/** The token format, which @nexus/identity owns. */
export interface TokenFormat {
  newSigningKey(kid: string): Promise<{ readonly publicJwk: Jwk; readonly privateJwk: Jwk }>;
  importKey(jwk: Jwk): Promise<CryptoKey>;
  sign(
    subject: TokenSubject,
    key: { readonly kid: string; readonly privateKey: CryptoKey },
  ): Promise<string>;
}

/** How a caller proved who it is. */
export type ProofMethod = "password" | "client_secret" | "refresh_token";

/** Business events, for metrics and log. */
export interface AuthEvents {
  proofAccepted(method: ProofMethod, principal: PrincipalRecord): void;
  proofRefused(method: ProofMethod, reason: string): void;
  /** Somebody failed too often. The name is told only when it is a principal's: it may be a mistyped password. */
  loginLocked(namespace: Namespace, principalId: string | undefined): void;
  familyReused(namespace: Namespace, familyId: string): void;
  revoked(revocation: RevocationRecord): void;
  passwordRehashed(principal: PrincipalKey): void;
  principalCreated(principal: PrincipalRecord): void;
  principalDisabled(principal: PrincipalRecord): void;
  principalEnabled(principal: PrincipalRecord): void;
  loginUnlocked(principal: PrincipalKey): void;
  passwordReplaced(principal: PrincipalKey, by: "user" | "administrator"): void;
  secretRotated(principal: PrincipalKey): void;
  signingKeyRotated(currentKid: string, nextKid: string): void;
}
