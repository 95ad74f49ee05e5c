import type { AuthService, PrincipalService, SealService } from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createCreatePrincipal } from "./create-principal.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { createDisablePrincipal } from "./disable-principal.ts";
import { createGetJwks } from "./get-jwks.ts";
import { createGetPrincipal } from "./get-principal.ts";
import { createGetRootKeyStatus } from "./get-root-key-status.ts";
import { createGetSealStatus } from "./get-seal-status.ts";
import { createGrantClientToken } from "./grant-client-token.ts";
import { createListPrincipals } from "./list-principals.ts";
import { createLogin } from "./login.ts";
import { createLogout } from "./logout.ts";
import { createRefreshToken } from "./refresh-token.ts";
import { createRevokeTokens } from "./revoke-tokens.ts";
import { createRotateClientSecret } from "./rotate-client-secret.ts";
import { createRotateSigningKey } from "./rotate-signing-key.ts";
import { createSeal } from "./seal.ts";
import { createUnseal } from "./unseal.ts";
import { createUnsealFromProvider } from "./unseal-from-provider.ts";
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

/** Every method of SealService. */
export function createSealHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof SealService> {
  return {
    getSealStatus: createGetSealStatus(deps),
    getRootKeyStatus: createGetRootKeyStatus(deps),
    seal: createSeal(deps),
    unseal: createUnseal(deps),
    unsealFromProvider: createUnsealFromProvider(deps),
  };
}
