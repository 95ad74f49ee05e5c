import { readFileSync } from "node:fs";
import { createServiceTokenSource } from "@nexus/identity";
import { CaService } from "@nexus/proto/vault";
import { createRpcChannel, createRpcClient, type TlsSource } from "@nexus/rpc";
import { NexusError } from "@nexus/shared";
import type { FrameConfig } from "../frame-config.ts";
import { type CertificateIssuer, isVaultSealed } from "./certificate-agent.ts";

/** An issuer that is a call away, and what to close. */
export interface VaultIssuer {
  readonly issue: CertificateIssuer;
  close(): void;
}

/** Signing takes a few milliseconds; more is a vault that does not answer. */
const ISSUE_TIMEOUT_MS = 5_000;

/** Creates the way to vault's authority of a service that has no certificate, or none that is still good: the service knows vault by
 * the authorities it trusts, and vault the service by its client secret. Undefined without a vault in the configuration. */
export function createVaultIssuer(config: FrameConfig): VaultIssuer | undefined {
  const { vaultAddress, principalId, clientSecret, tlsTrustDomain } = config;
  if (vaultAddress === undefined || principalId === undefined || clientSecret === undefined) {
    return undefined;
  }
  const files = [config.tlsCaFile, config.tlsBootstrapCaFile];
  const channel = createRpcChannel({
    address: vaultAddress,
    tls: { source: trustOf(files), trustDomain: tlsTrustDomain, peer: "vault" },
  });
  const tokens = createServiceTokenSource({ vault: channel, principalId, clientSecret });
  const client = createRpcClient(CaService, channel, { tokens, timeoutMs: ISSUE_TIMEOUT_MS });
  return {
    issue: (requestPem, signal) => client.issueCertificate({ requestPem }, { signal }),
    close: () => channel.close(),
  };
}

/** A sealed vault is waited for, as one that does not answer. */
export function isIssuerDown(error: unknown): boolean {
  return NexusError.is(error, "unavailable") || isVaultSealed(error);
}

/** Trusts what either file holds at the moment: the bundle that came with the last certificate, and the one that the deployment
 * brings, by which a service that was away for a whole change of authorities knows vault again. */
function trustOf(files: readonly (string | undefined)[]): TlsSource {
  return {
    get current() {
      const bundles = files.flatMap((path) => (path === undefined ? [] : tryRead(path)));
      return bundles.length === 0 ? undefined : { ca: Buffer.concat(bundles) };
    },
    onChange: () => () => {},
  };
}

function tryRead(path: string): Buffer[] {
  try {
    return [readFileSync(path)];
  } catch {
    // Not there yet: either file will do.
    return [];
  }
}
