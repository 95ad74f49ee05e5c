import { isIP } from "node:net";
import { ConfigError, type ConfigOfFields, envPrefix, type ServiceFields } from "@nexus/core";

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

/** Says whether an address can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}

/** Refuses to serve plaintext to the network unless that is asked for in so many words.
 * Errors: ConfigError. */
export function assertTransportSafe(service: string, config: FrameConfig): void {
  const safe = config.tlsMode !== "off" || isLoopback(config.host);
  if (safe || config.plaintextAllowed) return;
  const prefix = envPrefix(service);
  const problem = `is not loopback, so set NEXUS_TLS_MODE and its files, or ${prefix}PLAINTEXT_ALLOWED=true`;
  throw new ConfigError(service, [{ env: `${prefix}HOST`, problem, example: "127.0.0.1" }]);
}
