import type { AuthService, PrincipalService } from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createCreatePrincipal } from "./create-principal.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { createDisablePrincipal } from "./disable-principal.ts";
import { createGetJwks } from "./get-jwks.ts";
import { createGetPrincipal } from "./get-principal.ts";
import { createGrantClientToken } from "./grant-client-token.ts";
import { createListPrincipals } from "./list-principals.ts";
import { createLogin } from "./login.ts";
import { createLogout } from "./logout.ts";
import { createRefreshToken } from "./refresh-token.ts";
import { createRevokeTokens } from "./revoke-tokens.ts";
import { createRotateClientSecret } from "./rotate-client-secret.ts";
import { createRotateSigningKey } from "./rotate-signing-key.ts";
import { createWatchRevocations } from "./watch-revocations.ts";
import { createWhoAmI } from "./who-am-i.ts";

/** Every method of AuthService. */
export function createAuthHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof AuthService> {
  return {
    login: createLogin(deps),
    grantClientToken: createGrantClientToken(deps),
    refreshToken: createRefreshToken(deps),
    logout: createLogout(deps),
    revokeTokens: createRevokeTokens(deps),
    whoAmI: createWhoAmI(),
    getJwks: createGetJwks(deps),
    rotateSigningKey: createRotateSigningKey(deps),
    watchRevocations: createWatchRevocations(deps),
  };
}

/** Every method of PrincipalService. */
export function createPrincipalHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof PrincipalService> {
  return {
    createPrincipal: createCreatePrincipal(deps),
    getPrincipal: createGetPrincipal(deps),
    listPrincipals: createListPrincipals(deps),
    disablePrincipal: createDisablePrincipal(deps),
    rotateClientSecret: createRotateClientSecret(deps),
  };
}
