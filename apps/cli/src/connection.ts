/** Calls to the gateway. Loaded only by what calls it: every contract comes with it. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { TokenSet } from "@nexus/proto/vault";
import { type Credentials, createClient, type NexusClient } from "@nexus/sdk";
import { NexusError } from "@nexus/shared";
import { type Profile, readProfile, writeProfile } from "./profile.ts";
import { type GlobalFlags, gatewayOf, tlsOf } from "./session.ts";

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
    waitsForRate: true,
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
