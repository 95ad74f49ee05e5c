import type { SealedBox } from "./sealed-box.ts";

/** An authority as stored. */
export interface AuthorityRow {
  readonly caId: string;
  readonly certPem: string;
  /** Its private key; undefined once a newer one signs. */
  readonly keyBox: SealedBox | undefined;
  readonly signsFromMs: number;
  readonly notAfterMs: number;
  /** Undefined while no newer one was made. */
  readonly trustedUntilMs: number | undefined;
}

/** What a certificate is for. */
export interface CertificateNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

const DAY_MS = 86_400_000;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const HOST = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

/** Life of an authority; it is replaced much earlier. */
export const CA_LIFE_MS = 3_650 * DAY_MS;
/** Covers clocks that differ and a renewal that fails a few times. */
const SPREAD_MS = 60_000;
/** A replica that read the authorities just before a newer one signs may still sign with the old one. */
export const KEY_KEPT_MS = 60_000;

/** How long a new authority is in the bundle before it signs: a service gets the bundle with its certificate, so within the life of one. */
export function caPublishMs(certificateTtlMs: number): number {
  return certificateTtlMs + SPREAD_MS;
}

/** How long an authority stays trusted once a newer one signs: until its last certificate has ended. */
export function caRetireMs(certificateTtlMs: number): number {
  return certificateTtlMs + SPREAD_MS + KEY_KEPT_MS;
}

/** The associated data of a sealed key. */
export function authorityBoxName(caId: string): string {
  return `certificate-authority/${caId}`;
}

/** The authority that signs now: the newest whose time has come. */
export function signerOf(
  rows: readonly AuthorityRow[],
  nowMs: number,
): AuthorityRow & { readonly keyBox: SealedBox } {
  const signer = rows.filter((row) => row.signsFromMs <= nowMs).at(-1);
  if (signer?.keyBox === undefined) throw new Error("No authority may sign.");
  return { ...signer, keyBox: signer.keyBox };
}

/** The certificates of the authorities, one after the other. */
export function toBundle(rows: readonly AuthorityRow[]): string {
  return rows.map(({ certPem }) => certPem).join("");
}

/** The first name that is asked for and not granted. */
export function foreignNames(
  wanted: CertificateNames,
  granted: CertificateNames,
): string | undefined {
  const kinds = ["uris", "dnsNames", "ipAddresses"] as const;
  for (const kind of kinds) {
    const foreign = wanted[kind].find((name) => !granted[kind].includes(name));
    if (foreign !== undefined) return foreign;
  }
  return undefined;
}

/** The hosts of each service. */
export type ServiceHosts = ReadonlyMap<string, readonly string[]>;

/** Reads `service=host` items, or says what is wrong with one. */
export function parseServiceHosts(
  items: readonly string[],
): { readonly hosts: ServiceHosts } | { readonly problem: string } {
  const hosts = new Map<string, string[]>();
  for (const item of items) {
    const [service = "", host = "", ...more] = item.split("=");
    if (!HOST.test(service) || !HOST.test(host) || more.length > 0) {
      return { problem: `has ${item}, which is not of the form service=host` };
    }
    hosts.set(service, [...(hosts.get(service) ?? []), host]);
  }
  return { hosts };
}

/** The names of a service: its id, the id as a host, and its hosts. */
export function namesOfService(spiffeId: string, service: string, hosts: ServiceHosts) {
  const own = hosts.get(service) ?? [];
  return {
    uris: [spiffeId],
    dnsNames: [service, ...own.filter((host) => !IPV4.test(host))],
    ipAddresses: own.filter((host) => IPV4.test(host)),
  };
}
