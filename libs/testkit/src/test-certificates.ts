/** Certificates for TLS tests. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Authority,
  createAuthority,
  createCertificateRequest,
  issueCertificate,
  readCertificateRequest,
} from "@nexus/pki";

const HOUR_MS = 3_600_000;
/** As NEXUS_TLS_TRUST_DOMAIN is by default. */
const TRUST_DOMAIN = "nexus.local";

/** A certificate and its private key, PEM. */
export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** What a certificate of a test is for. */
export interface TestCertificate {
  /** The service that it names; none by default. */
  readonly service?: string;
  readonly trustDomain?: string;
  /** The host that it is for instead of 127.0.0.1 and localhost. */
  readonly host?: string;
  /** Further addresses that it is for. */
  readonly ipAddresses?: readonly string[];
  /** Negative: it has expired already. @default one hour */
  readonly lifeMs?: number;
}

/** Paths of a service's files, as the settings name them. */
export interface TestTlsFiles {
  readonly tlsCertFile: string;
  readonly tlsKeyFile: string;
  readonly tlsCaFile: string;
}

/** An authority of a test. All its certificates are for 127.0.0.1 and localhost, unless a host is named. */
export interface TestAuthority {
  readonly ca: Buffer;
  issue(wanted?: TestCertificate): Promise<KeyPair>;
  /** Issues a certificate and writes it, its key and the authority to a folder, each whole; again replaces them. */
  writeFiles(folder: string, wanted?: TestCertificate): Promise<TestTlsFiles>;
}

/** Makes an authority. */
export async function createTestAuthority(): Promise<TestAuthority> {
  const authority = await createAuthority({
    commonName: "test authority",
    notBefore: new Date(Date.now() - HOUR_MS),
    notAfter: new Date(Date.now() + 24 * HOUR_MS),
  });
  const issue = (wanted: TestCertificate = {}) => issueFrom(authority, wanted);
  const ca = Buffer.from(authority.certPem);
  return {
    ca,
    issue,
    async writeFiles(folder, wanted) {
      const { cert, key } = await issue(wanted);
      await mkdir(folder, { recursive: true });
      const write = async (name: string, content: Buffer) => {
        const path = join(folder, name);
        await writeFile(`${path}.draft`, content, { mode: 0o600 });
        await rename(`${path}.draft`, path);
        return path;
      };
      return {
        tlsCertFile: await write("tls.crt", cert),
        tlsKeyFile: await write("tls.key", key),
        tlsCaFile: await write("ca.crt", ca),
      };
    },
  };
}

async function issueFrom(authority: Authority, wanted: TestCertificate): Promise<KeyPair> {
  const { service, host, trustDomain = TRUST_DOMAIN, lifeMs = HOUR_MS } = wanted;
  const own = host === undefined ? ["127.0.0.1"] : [];
  const { requestPem, keyPem } = await createCertificateRequest(service ?? "test");
  const { publicKey } = await readCertificateRequest(requestPem);
  const cert = await issueCertificate({
    authority,
    publicKey,
    commonName: service ?? "test",
    names: {
      uris: service === undefined ? [] : [`spiffe://${trustDomain}/nexus/${service}`],
      dnsNames: [host ?? "localhost"],
      ipAddresses: [...own, ...(wanted.ipAddresses ?? [])],
    },
    notBefore: new Date(Date.now() + Math.min(0, lifeMs) - HOUR_MS),
    notAfter: new Date(Date.now() + lifeMs),
  });
  return { cert: Buffer.from(cert), key: Buffer.from(keyPem) };
}
