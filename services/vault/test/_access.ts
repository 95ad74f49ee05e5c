/** Roles and policies as tests write them. */
import { Effect } from "@nexus/proto/vault";
import { type Replica, requestId, type Session } from "./_helpers.ts";

interface Rule {
  readonly effect: Effect;
  readonly actions: string[];
  readonly resources: string[];
}

export function allow(actions: string[], resources: string[] = []): Rule {
  return { effect: Effect.ALLOW, actions, resources };
}

export function deny(actions: string[], resources: string[] = []): Rule {
  return { effect: Effect.DENY, actions, resources };
}

export async function putRole(
  { access }: Replica,
  caller: Session,
  name: string,
  scopes: string[],
): Promise<void> {
  await access.putRole({ requestId: requestId(), name, scopes }, caller);
}

export async function setRoles(
  { access }: Replica,
  caller: Session,
  principalId: string,
  roles: string[],
): Promise<void> {
  await access.setPrincipalRoles({ requestId: requestId(), principalId, roles }, caller);
}

export async function putPolicy(
  { access }: Replica,
  caller: Session,
  policy: {
    readonly name: string;
    readonly statements: Rule[];
    readonly roles?: string[];
    readonly principalIds?: string[];
    readonly everyone?: boolean;
  },
): Promise<void> {
  await access.putPolicy({ requestId: requestId(), ...policy }, caller);
}
