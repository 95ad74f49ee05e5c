import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { CaService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { SYSTEM_NAMESPACE } from "@nexus/shared";
import { serviceOnly } from "../domain/errors.ts";
import type { VaultHandlerDeps } from "./deps.ts";

type IssueCertificate = MethodImplementation<typeof CaService.method.issueCertificate>;

/** Serves CaService.IssueCertificate. A certificate makes who holds it a service, so nobody gets one for another, whatever its
 * scopes. */
export function createIssueCertificate({ authority }: VaultHandlerDeps): IssueCertificate {
  return async ({ requestPem }, ctx) => {
    const { kind, namespace, principalId } = requirePrincipal(ctx);
    if (kind !== "service" || namespace !== SYSTEM_NAMESPACE) throw serviceOnly();
    const issued = await authority.issue(principalId, requestPem);
    return {
      certificatePem: issued.certificatePem,
      trustBundlePem: issued.trustBundlePem,
      expireTime: timestampFromMs(issued.notAfterMs),
    };
  };
}
