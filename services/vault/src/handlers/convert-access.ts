import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  DecisionReason,
  Effect,
  type PolicySchema,
  type PutPolicyRequest,
  type RoleSchema,
} from "@nexus/proto/vault";
import type { AccessDecision, PolicyStatement } from "@nexus/shared";
import type { AccessPolicy, PolicySpec, Role } from "../domain/access/policy.ts";
import { toTimestamp } from "./convert.ts";

const EFFECTS: Readonly<Record<PolicyStatement["effect"], Effect>> = {
  allow: Effect.ALLOW,
  deny: Effect.DENY,
};

const REASONS: Readonly<Record<AccessDecision["reason"], DecisionReason>> = {
  allowed: DecisionReason.ALLOWED,
  denied: DecisionReason.DENIED,
  no_grant: DecisionReason.NO_GRANT,
  malformed: DecisionReason.MALFORMED,
};

/** A role to the wire. */
export function toRole(role: Role): MessageInitShape<typeof RoleSchema> {
  const { name, description, scopes, updatedAtMs } = role;
  return { name, description, scopes: [...scopes], updateTime: toTimestamp(updatedAtMs) };
}

/** A policy to the wire. */
export function toPolicy(policy: AccessPolicy): MessageInitShape<typeof PolicySchema> {
  const { name, description, statements, roles, principalIds, everyone, updatedAtMs } = policy;
  return {
    name,
    description,
    statements: statements.map(({ effect, actions, resources }) => ({
      effect: EFFECTS[effect],
      actions: [...actions],
      resources: [...resources],
    })),
    roles: [...roles],
    principalIds: [...principalIds],
    everyone,
    updateTime: toTimestamp(updatedAtMs),
  };
}

/** The policy that a request describes; the contract's rules let only ALLOW and DENY through. */
export function fromPolicySpec(request: PutPolicyRequest): PolicySpec {
  const { name, description, statements, roles, principalIds, everyone } = request;
  return {
    name,
    description,
    statements: statements.map(({ effect, actions, resources }) => ({
      effect: effect === Effect.ALLOW ? "allow" : "deny",
      actions,
      resources,
    })),
    roles: [...new Set(roles)],
    principalIds: [...new Set(principalIds)],
    everyone,
  };
}

/** Why, to the wire. */
export function toDecisionReason(reason: AccessDecision["reason"]): DecisionReason {
  return REASONS[reason];
}
