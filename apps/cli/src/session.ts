import { resolve } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { TokenSet } from "@nexus/proto/vault";
import { type Credentials, createClient, type GatewayTls, type NexusClient } from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { type Profile, readProfile, writeProfile } from "./profile.ts";
import { usageError } from "./usage-error.ts";

/** Flags that every command takes. */
export interface GlobalFlags {
  readonly gateway?: string;
  readonly namespace?: string;
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

/** Connects as whoever is logged in, or with NEXUS_TOKEN. Renewed tokens are kept for the next command.
 *
 * Errors: unauthenticated/NOT_LOGGED_IN. */
export function connect(flags: GlobalFlags, env: NodeJS.ProcessEnv): NexusClient {
  const profile = readProfile(env);
  return createClient({
    gateway: gatewayOf(flags, env),
    tls: tlsOf(flags, env),
    credentials: credentialsOf(profile, env),
    timeoutMs: flags.timeout * 1_000,
    onTokens: (tokens) => {
      if (profile !== undefined) writeProfile(env, toProfile(profile, tokens));
    },
  });
}

function credentialsOf(profile: Profile | undefined, env: NodeJS.ProcessEnv): Credentials {
  const accessToken = env["NEXUS_TOKEN"];
  if (accessToken !== undefined && accessToken !== "") return { kind: "token", accessToken };
  if (profile !== undefined) {
    const { refreshToken, accessToken: current, accessExpiresAtMs } = profile;
    return { kind: "refresh-token", refreshToken, accessToken: current, accessExpiresAtMs };
  }
  throw new NexusError({
    kind: "unauthenticated",
    reason: "NOT_LOGGED_IN",
    message: "Nobody is logged in. Run `nexus login`, or set NEXUS_TOKEN.",
  });
}

/** What a login leaves behind. */
export function toProfile(
  at: Pick<Profile, "gateway" | "tls" | "caFile">,
  tokens: TokenSet,
): Profile {
  const { gateway, tls, caFile } = at;
  return {
    gateway,
    ...(tls === undefined ? {} : { tls }),
    ...(caFile === undefined ? {} : { caFile }),
    principalId: tokens.principal?.principalId ?? "",
    namespace: tokens.principal?.namespace ?? "",
    accessToken: tokens.accessToken,
    accessExpiresAtMs: tokens.accessExpireTime ? timestampMs(tokens.accessExpireTime) : 0,
    refreshToken: tokens.refreshToken,
  };
}
