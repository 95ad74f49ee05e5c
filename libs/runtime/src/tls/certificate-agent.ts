import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type Logger, NexusError } from "@nexus/shared";
import { retryUntilUp } from "../retry-until-up.ts";
import type { TlsFiles } from "./tls-files.ts";

/** Signs a request (PKCS #10, PEM) for this service. */
export type CertificateIssuer = (
  requestPem: string,
  signal: AbortSignal,
) => Promise<{ readonly certificatePem: string; readonly trustBundlePem: string }>;

/** What a CertificateAgent needs. */
export interface CertificateAgentOptions {
  readonly service: string;
  readonly files: TlsFiles;
  readonly issue: CertificateIssuer;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** Says which errors mean that the issuer is not up yet. */
  readonly isDown: (error: unknown) => boolean;
}

/** A certificate is renewed when this much of its life is over: a third is left for an issuer that is away. */
const RENEW_SHARE = 2 / 3;
const OWNER_ONLY = 0o600;
const READABLE = 0o644;

/** Gets the certificate of a service, writes it to the service's files and renews it in time.
 *
 * The files are the memory: a service that is started again goes on with the certificate it has. */
export class CertificateAgent {
  readonly #options: CertificateAgentOptions;

  constructor(options: CertificateAgentOptions) {
    this.#options = options;
  }

  /** Resolves when there is a certificate that lasts a while, asking for one as long as it takes.
   * Errors: those of the issuer that no repetition mends, unless the certificate there is still good. */
  async ensure(signal: AbortSignal): Promise<void> {
    if (!this.#isDue()) return;
    const { files, logger, nowMs, isDown } = this.#options;
    const isGood = (files.loaded?.notAfterMs ?? 0) > nowMs();
    try {
      await retryUntilUp({
        what: "a certificate",
        fn: () => this.#renew(signal),
        signal,
        logger,
        // With a good one there is no need to wait for the next.
        isDown: (error) => !isGood && isDown(error),
      });
    } catch (error) {
      if (!isGood || signal.aborted) throw error;
      logger.warn({ err: error }, "certificate not renewed yet");
    }
  }

  /** Renews the certificate if it is time to. A sealed vault is asked again at the next step and is no failure: a loop's pauses grow
   * after failures, and the certificate may have ended by the time that somebody opens vault. Errors: others of the issuer. */
  readonly step = async (signal: AbortSignal): Promise<void> => {
    if (!this.#isDue()) return;
    try {
      await this.#renew(signal);
    } catch (error) {
      if (!isVaultSealed(error)) throw error;
    }
  };

  #isDue(): boolean {
    const { files, nowMs } = this.#options;
    if (files.loaded === undefined) return true;
    const { notBeforeMs, notAfterMs } = files.loaded;
    return nowMs() >= notBeforeMs + (notAfterMs - notBeforeMs) * RENEW_SHARE;
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { service, issue, files, logger } = this.#options;
    const { createCertificateRequest } = await import("@nexus/pki");
    const { requestPem, keyPem } = await createCertificateRequest(service);
    const { certificatePem, trustBundlePem } = await issue(requestPem, signal);
    const { certFile, keyFile, caFile } = files.files;
    // Trust first: who has the new certificate may meet others that have theirs from the new authority.
    if (caFile !== undefined) writeWhole(caFile, trustBundlePem, READABLE);
    writeWhole(keyFile, keyPem, OWNER_ONLY);
    writeWhole(certFile, certificatePem, READABLE);
    const reload = files.reload();
    if (reload.outcome === "refused") throw unsound(reload.problems.map(({ problem }) => problem));
    if (reload.outcome === "changed") {
      logger.info(
        { until: new Date(reload.loaded.notAfterMs).toISOString() },
        "certificate renewed",
      );
    }
  }
}

/** A sealed vault signs nothing until somebody opens it. */
export function isVaultSealed(error: unknown): boolean {
  return error instanceof NexusError && error.reason === "VAULT_SEALED";
}

/** Replaces a file whole, so that a reader, and a start after a kill, see the old one or the new one. */
function writeWhole(path: string, text: string, mode: number): void {
  const draft = `${path}.${process.pid}`;
  mkdirSync(dirname(path), { recursive: true });
  rmSync(draft, { force: true });
  writeFileSync(draft, text, { mode, flag: "wx" });
  chmodSync(draft, mode);
  renameSync(draft, path);
}

function unsound(problems: readonly string[]): NexusError {
  return new NexusError({
    kind: "internal",
    reason: "CERTIFICATE_UNSOUND",
    message: `The certificate that was issued cannot be used: it ${problems.join("; it ")}.`,
  });
}
