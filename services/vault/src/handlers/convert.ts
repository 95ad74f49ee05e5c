import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { PageRequest } from "@nexus/proto/common";
import {
  PrincipalKind,
  type PrincipalSchema,
  type RevocationSchema,
  type TokenSetSchema,
} from "@nexus/proto/vault";
import type {
  PrincipalKind as DomainKind,
  IssuedTokens,
  PrincipalRecord,
} from "../domain/principal.ts";
import type { RevocationRecord } from "../domain/revocation.ts";

const KINDS: Readonly<Record<DomainKind, PrincipalKind>> = {
  user: PrincipalKind.USER,
  agent: PrincipalKind.AGENT,
  service: PrincipalKind.SERVICE,
};

const PAGE_SIZE_DEFAULT = 100;

/** Milliseconds to the wire's time. */
export function toTimestamp(ms: number): Timestamp {
  return timestampFromMs(ms);
}

/** A kind to the wire's enum. */
export function toPrincipalKind(kind: DomainKind): PrincipalKind {
  return KINDS[kind];
}

/** A stored principal to the wire. */
export function toPrincipal(principal: PrincipalRecord): MessageInitShape<typeof PrincipalSchema> {
  const { namespace, principalId, kind, scopes, roles, disabled, createdAtMs } = principal;
  return {
    namespace,
    principalId,
    kind: KINDS[kind],
    scopes: [...scopes],
    roles: [...roles],
    disabled,
    createTime: toTimestamp(createdAtMs),
  };
}

/** Tokens to the wire. */
export function toTokenSet(issued: IssuedTokens): MessageInitShape<typeof TokenSetSchema> {
  const { accessToken, accessExpiresAtMs, refresh, principal } = issued;
  return {
    accessToken,
    accessExpireTime: toTimestamp(accessExpiresAtMs),
    principal: toPrincipal(principal),
    ...(refresh === undefined
      ? {}
      : { refreshToken: refresh.token, refreshExpireTime: toTimestamp(refresh.expiresAtMs) }),
  };
}

/** A revocation to the wire. */
export function toRevocation(record: RevocationRecord): MessageInitShape<typeof RevocationSchema> {
  return {
    target: toTarget(record),
    namespace: record.namespace,
    revokeTime: toTimestamp(record.revokeTimeMs),
    expireTime: toTimestamp(record.expireTimeMs),
  };
}

function toTarget({ target, namespace, id }: RevocationRecord) {
  switch (target) {
    case "token":
      return { case: "tokenId", value: id } as const;
    case "family":
      return { case: "familyId", value: id } as const;
    case "principal":
      return { case: "principal", value: { namespace, principalId: id } } as const;
    case "role":
      return { case: "role", value: id } as const;
    case "namespace":
      return { case: "wholeNamespace", value: true } as const;
  }
}

/** The page that a request asks for; 0 items means the default. */
export function fromPage(page: PageRequest | undefined): {
  readonly size: number;
  readonly token: string;
} {
  const size = page?.pageSize ?? 0;
  return { size: size === 0 ? PAGE_SIZE_DEFAULT : size, token: page?.pageToken ?? "" };
}
