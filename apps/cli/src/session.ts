import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { TokenSet } from "@nexus/proto/vault";
import { type Credentials, createClient, type NexusClient } from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { type Profile, readProfile, writeProfile } from "./profile.ts";

/** Flags that every command takes. */
export interface GlobalFlags {
  readonly gateway?: string;
  readonly namespace?: string;
  readonly output: string;
  readonly timeout: number;
}

/** Where the gateway is when nothing says otherwise. */
export const DEFAULT_GATEWAY = "127.0.0.1:7400";

/** The gateway's address: flag, then NEXUS_GATEWAY, then the login's, then the default. */
export function gatewayOf(flags: GlobalFlags, env: NodeJS.ProcessEnv): string {
  return flags.gateway ?? env["NEXUS_GATEWAY"] ?? readProfile(env)?.gateway ?? DEFAULT_GATEWAY;
}

/** Connects as whoever is logged in, or with NEXUS_TOKEN. Renewed tokens are kept for the next command.
 *
 * Errors: unauthenticated/NOT_LOGGED_IN. */
export function connect(flags: GlobalFlags, env: NodeJS.ProcessEnv): NexusClient {
  const profile = readProfile(env);
  return createClient({
    gateway: gatewayOf(flags, env),
    credentials: credentialsOf(profile, env),
    timeoutMs: flags.timeout * 1_000,
    onTokens: (tokens) => {
      if (profile !== undefined) writeProfile(env, toProfile(profile.gateway, tokens));
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
export function toProfile(gateway: string, tokens: TokenSet): Profile {
  return {
    gateway,
    principalId: tokens.principal?.principalId ?? "",
    namespace: tokens.principal?.namespace ?? "",
    accessToken: tokens.accessToken,
    accessExpiresAtMs: tokens.accessExpireTime ? timestampMs(tokens.accessExpireTime) : 0,
    refreshToken: tokens.refreshToken,
  };
}
