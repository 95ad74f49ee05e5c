import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { ConfigError, type ConfigOfFields, envPrefix, type ServiceFields } from "@nexus/core";
import type { TlsOptions } from "@nexus/rpc";

type VaultFields = ServiceFields<"vault">;
type RegistryFields = ServiceFields<"registry">;
type ProcessKeys = Exclude<
  keyof VaultFields,
  "databaseUrl" | "databasePoolMax" | "statementTimeoutMs"
>;
type IdentityKeys = "vaultAddress" | "principalId" | "clientSecret";

/** The settings a frame reads: those of serviceFields(), with the way to vault left out by vault itself. */
export type FrameConfig = ConfigOfFields<Pick<VaultFields, ProcessKeys>> &
  Partial<ConfigOfFields<Pick<RegistryFields, IdentityKeys>>>;

function readPem(service: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    throw new ConfigError(service, [
      { env: path, problem: "is named as a TLS file but cannot be read", example: "" },
    ]);
  }
}

/** Says whether an address can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

/** Refuses to serve plaintext to the network unless that is asked for in so many words.
 * Errors: ConfigError. */
export function assertTransportSafe(service: string, config: FrameConfig): void {
  const safe = config.tlsCertFile !== undefined || isLoopback(config.host);
  if (safe || config.plaintextAllowed) return;
  const prefix = envPrefix(service);
  const problem = `is not loopback, so set ${prefix}TLS_CERT_FILE and ${prefix}TLS_KEY_FILE, or ${prefix}PLAINTEXT_ALLOWED=true`;
  throw new ConfigError(service, [{ env: `${prefix}HOST`, problem, example: "127.0.0.1" }]);
}

/** Reads the TLS files of a service once, at start; undefined means plaintext. Errors: ConfigError. */
export function loadTls(service: string, config: FrameConfig): TlsOptions | undefined {
  const { tlsCertFile, tlsKeyFile, tlsCaFile } = config;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  return {
    cert: readPem(service, tlsCertFile),
    key: readPem(service, tlsKeyFile),
    ...(tlsCaFile === undefined ? {} : { ca: readPem(service, tlsCaFile) }),
    ...(config.tlsClientCertRequired ? { requireClientCert: true } : {}),
  };
}
