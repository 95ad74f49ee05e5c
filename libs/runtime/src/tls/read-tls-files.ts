import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { serviceNameOf, spiffeIdOf, type TlsMaterial } from "@nexus/rpc";
import { keyFileModeProblem, processIdentity } from "@nexus/shared";

/** Where the certificate files are, and what they have to hold. */
export interface TlsFileSet {
  readonly certFile: string;
  readonly keyFile: string;
  /** Undefined: the certificates of the system are trusted. */
  readonly caFile: string | undefined;
  /** The service that the certificate has to name; undefined where nobody asks for names. */
  readonly name: { readonly trustDomain: string; readonly service: string } | undefined;
}

/** Sound material, and how long it lasts. */
export interface LoadedTls {
  readonly material: TlsMaterial;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** When the first of the trusted certificates ends; undefined without a CA file. */
  readonly caNotAfterMs: number | undefined;
}

/** Which of the files is wrong, and what is wrong with it; never what is in it. */
export interface TlsFileProblem {
  readonly file: "cert" | "key" | "ca";
  readonly problem: string;
}

/** What reading gives: sound material or every problem at once. */
export type TlsReading = LoadedTls | { readonly problems: readonly TlsFileProblem[] };

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
/** A chain or a bundle has a few kilobytes; more is another file. */
const FILE_BYTES_MAX = 1024 * 1024;

/** Reads and checks the files as they are now. */
export function readTlsFiles(files: TlsFileSet, nowMs: number): TlsReading {
  const problems: TlsFileProblem[] = [];
  const report = (file: TlsFileProblem["file"], problem: string) => {
    problems.push({ file, problem });
  };
  const cert = readPem(files.certFile, (problem) => report("cert", problem));
  const key = readPem(files.keyFile, (problem) => report("key", problem), true);
  const ca =
    files.caFile === undefined
      ? undefined
      : readPem(files.caFile, (problem) => report("ca", problem));
  const chain = cert === undefined ? [] : parseCertificates(cert);
  const bundle = ca === undefined ? [] : parseCertificates(ca);
  const secret = key === undefined ? undefined : parseKey(key);
  const [leaf] = chain;
  if (cert !== undefined && leaf === undefined) report("cert", "holds no readable certificate");
  if (ca !== undefined && bundle.length === 0) report("ca", "holds no readable certificate");
  if (key !== undefined && secret === undefined) report("key", "holds no readable private key");
  if (leaf !== undefined && secret !== undefined && !leaf.checkPrivateKey(secret)) {
    report("key", "is not the key of the certificate");
  }
  if (leaf !== undefined) checkLeaf(leaf, files.name, nowMs, (text) => report("cert", text));
  if (problems.length > 0 || cert === undefined || key === undefined || leaf === undefined) {
    return { problems };
  }
  return {
    material: { cert, key, ...(ca === undefined ? {} : { ca }) },
    notBeforeMs: Date.parse(leaf.validFrom),
    notAfterMs: Date.parse(leaf.validTo),
    caNotAfterMs:
      bundle.length === 0 ? undefined : Math.min(...bundle.map((one) => Date.parse(one.validTo))),
  };
}

/** Certificates of a PEM text that can be read; none when one of them cannot, since a part would look like the whole. */
export function parseCertificates(pem: Buffer | string): readonly X509Certificate[] {
  try {
    return (pem.toString().match(PEM_CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
  } catch {
    // The parser's message says nothing that a path does not.
    return [];
  }
}

function parseKey(pem: Buffer): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    // Whatever it is, it is told as no key; the message could quote it.
    return undefined;
  }
}

function checkLeaf(
  leaf: X509Certificate,
  name: TlsFileSet["name"],
  nowMs: number,
  report: (problem: string) => void,
): void {
  const notBefore = new Date(leaf.validFrom);
  const notAfter = new Date(leaf.validTo);
  if (nowMs >= notAfter.getTime()) report(`expired at ${notAfter.toISOString()}`);
  if (nowMs < notBefore.getTime()) report(`is valid only from ${notBefore.toISOString()}`);
  if (name === undefined) return;
  if (serviceNameOf(leaf.subjectAltName, name.trustDomain) === name.service) return;
  report(
    `does not name this service; its one SPIFFE id must be ${spiffeIdOf(name.trustDomain, name.service)}`,
  );
}

function statsProblem(stats: Stats, isKey: boolean): string | undefined {
  if (!stats.isFile()) return "is no regular file";
  if (stats.size > FILE_BYTES_MAX) return "is too large";
  return isKey ? keyFileModeProblem(stats, processIdentity()) : undefined;
}

/** Reads one file; the checks of a key's mode are made on the opened file, so it cannot be exchanged in between. */
function readPem(
  path: string,
  report: (problem: string) => void,
  isKey = false,
): Buffer | undefined {
  let file: number | undefined;
  try {
    // Without O_NONBLOCK a pipe would hold the start up until somebody writes to it.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const problem = statsProblem(fstatSync(file), isKey);
    if (problem === undefined) return readFileSync(file);
    report(`names ${path}, which ${problem}`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    report(`names ${path}, which cannot be read (${code})`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
  return undefined;
}
