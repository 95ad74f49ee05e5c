import { resolve } from "node:path";
import type { GatewayTls } from "@nexus/sdk";
import { readProfile } from "./profile.ts";
import { usageError } from "./usage-error.ts";

/** Flags that every command takes. */
export interface GlobalFlags {
  readonly gateway?: string;
  /** PEM file with the CA certificates of the gateway; with it the gateway is called over TLS. */
  readonly caFile?: string;
  /** Call the gateway over TLS, with the CA certificates of the system if no file is named. */
  readonly tls?: boolean;
  readonly output: string;
  readonly timeout: number;
}

/** Where the gateway is when nothing says otherwise. */
export const DEFAULT_GATEWAY = "127.0.0.1:7400";

/** The gateway's address: flag, then NEXUS_GATEWAY, then the login's, then the default.
 *
 * Errors: USAGE when it names no port. */
export function gatewayOf(flags: GlobalFlags, env: NodeJS.ProcessEnv): string {
  const address =
    flags.gateway ?? env["NEXUS_GATEWAY"] ?? readProfile(env)?.gateway ?? DEFAULT_GATEWAY;
  if (/[^/]:\d{1,5}$/.test(address)) return address;
  throw usageError(`The gateway is host:port, not "${address}".`);
}

/** How the gateway is called: over TLS by the flags, then NEXUS_CA_FILE and NEXUS_TLS, then as the login did; otherwise in plaintext. */
export function tlsOf(flags: GlobalFlags, env: NodeJS.ProcessEnv): GatewayTls | undefined {
  const fromEnv = env["NEXUS_CA_FILE"];
  const given = flags.caFile ?? (fromEnv === "" ? undefined : fromEnv);
  // A gateway of another address than the login's may speak otherwise.
  const profile = readProfile(env);
  const known = profile?.gateway === gatewayOf(flags, env) ? profile : undefined;
  const caFile = given ?? known?.caFile;
  // Kept by a login for commands from any folder.
  if (caFile !== undefined) return { caFile: resolve(caFile) };
  const wanted = flags.tls === true || env["NEXUS_TLS"] === "1" || known?.tls === true;
  return wanted ? {} : undefined;
}
