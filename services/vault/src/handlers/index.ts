import {
  type AccessService,
  type AuthService,
  type CaService,
  KeyService,
  type PrincipalService,
  type SealService,
} from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createChangePassword } from "./change-password.ts";
import { createCheckAccess } from "./check-access.ts";
import { createCreateKey } from "./create-key.ts";
import { createCreatePrincipal } from "./create-principal.ts";
import { createDeletePolicy } from "./delete-policy.ts";
import { createDeleteRole } from "./delete-role.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { createDestroyKey } from "./destroy-key.ts";
import { createDisableKey } from "./disable-key.ts";
import { createDisablePrincipal } from "./disable-principal.ts";
import { createEnableKey } from "./enable-key.ts";
import { createEnablePrincipal } from "./enable-principal.ts";
import { createGetJwks } from "./get-jwks.ts";
import { createGetKey } from "./get-key.ts";
import { createGetPolicy } from "./get-policy.ts";
import { createGetPrincipal } from "./get-principal.ts";
import { createGetRewrapProgress } from "./get-rewrap-progress.ts";
import { createGetRole } from "./get-role.ts";
import { createGetRootKeyStatus } from "./get-root-key-status.ts";
import { createGetSealStatus } from "./get-seal-status.ts";
import { createGetTrustBundle } from "./get-trust-bundle.ts";
import { createGrantClientToken } from "./grant-client-token.ts";
import { guardResources } from "./guard-resources.ts";
import { createIntrospectToken } from "./introspect-token.ts";
import { createIssueCertificate } from "./issue-certificate.ts";
import { createListKeyVersions } from "./list-key-versions.ts";
import { createListKeys } from "./list-keys.ts";
import { createListPolicies } from "./list-policies.ts";
import { createListPrincipals } from "./list-principals.ts";
import { createListRoles } from "./list-roles.ts";
import { createLogin } from "./login.ts";
import { createLogout } from "./logout.ts";
import { createPutPolicy } from "./put-policy.ts";
import { createPutRole } from "./put-role.ts";
import { createRefreshToken } from "./refresh-token.ts";
import { createResetPassword } from "./reset-password.ts";
import { createRevokeTokens } from "./revoke-tokens.ts";
import { createRotateCa } from "./rotate-ca.ts";
import { createRotateClientSecret } from "./rotate-client-secret.ts";
import { createRotateKey } from "./rotate-key.ts";
import { createRotateNamespaceKey } from "./rotate-namespace-key.ts";
import { createRotateSigningKey } from "./rotate-signing-key.ts";
import { createSeal } from "./seal.ts";
import { createSetPrincipalRoles } from "./set-principal-roles.ts";
import { createSetPrincipalScopes } from "./set-principal-scopes.ts";
import { createUnlockPrincipal } from "./unlock-principal.ts";
import { createUnseal } from "./unseal.ts";
import { createUnsealFromProvider } from "./unseal-from-provider.ts";
import { createUpdateKey } from "./update-key.ts";
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
    changePassword: createChangePassword(deps),
    revokeTokens: createRevokeTokens(deps),
    introspectToken: createIntrospectToken(deps),
    whoAmI: createWhoAmI(),
    getJwks: createGetJwks(deps),
    rotateSigningKey: createRotateSigningKey(deps),
    watchRevocations: createWatchRevocations(deps),
  };
}

/** Every method of CaService. */
export function createCaHandlers(deps: VaultHandlerDeps): ServiceImplementation<typeof CaService> {
  return {
    issueCertificate: createIssueCertificate(deps),
    getTrustBundle: createGetTrustBundle(deps),
    rotateCa: createRotateCa(deps),
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
    enablePrincipal: createEnablePrincipal(deps),
    resetPassword: createResetPassword(deps),
    unlockPrincipal: createUnlockPrincipal(deps),
    setPrincipalScopes: createSetPrincipalScopes(deps),
  };
}

/** Every method of AccessService. */
export function createAccessHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof AccessService> {
  return {
    putRole: createPutRole(deps),
    getRole: createGetRole(deps),
    listRoles: createListRoles(deps),
    deleteRole: createDeleteRole(deps),
    setPrincipalRoles: createSetPrincipalRoles(deps),
    putPolicy: createPutPolicy(deps),
    getPolicy: createGetPolicy(deps),
    listPolicies: createListPolicies(deps),
    deletePolicy: createDeletePolicy(deps),
    checkAccess: createCheckAccess(deps),
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

/** Every method of KeyService. */
export function createKeyHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof KeyService> {
  const handlers = {
    createKey: createCreateKey(deps),
    getKey: createGetKey(deps),
    listKeys: createListKeys(deps),
    listKeyVersions: createListKeyVersions(deps),
    rotateKey: createRotateKey(deps),
    updateKey: createUpdateKey(deps),
    disableKey: createDisableKey(deps),
    enableKey: createEnableKey(deps),
    destroyKey: createDestroyKey(deps),
    rotateNamespaceKey: createRotateNamespaceKey(deps),
    getRewrapProgress: createGetRewrapProgress(deps),
  };
  return guardResources(KeyService, handlers, deps.book);
}
