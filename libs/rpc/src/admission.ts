import type { DescMethod } from "@bufbuild/protobuf";
import { holdsScope, matchesScope, NexusError } from "@nexus/shared";
import type { Principal, TokenVerifier } from "./principal.ts";
import { AUTHENTICATED, PUBLIC, resourceFieldOf, scopeOf } from "./server/method-plan.ts";

/** Who makes a call. */
export interface Caller {
  /** Undefined only for `public` methods. */
  readonly principal: Principal | undefined;
  /** The bearer token, to pass on. Never log it. */
  readonly token: string | undefined;
}

/** What is known of a call before anything of it is decoded. */
export interface CallCredentials {
  /** The call's `authorization` header. */
  readonly authorization: string | undefined;
  readonly verifier: TokenVerifier;
}

/** A call at the door. */
export interface ArrivedCall extends CallCredentials {
  readonly method: DescMethod;
  /** Hears who calls, before it is known whether they may. */
  readonly onIdentified?: (principal: Principal | undefined) => void;
}

const BEARER = /^Bearer +(\S+)$/i;

/** Lets a call in, whatever protocol it came over: its token has to verify and to hold the scope that the method's
 * descriptor requires. The gRPC server does the same in two layers, made of the same functions.
 *
 * Errors: unauthenticated/TOKEN_MISSING and the verifier's own; forbidden/SCOPE_MISSING. */
export async function admitCall(call: ArrivedCall): Promise<Caller> {
  const scope = scopeOf(call.method);
  const caller = await identifyCaller(scope, call);
  call.onIdentified?.(caller.principal);
  const checksResource = resourceFieldOf(call.method) !== "";
  if (scope !== PUBLIC) assertScope(caller.principal, { scope, checksResource });
  return caller;
}

/** Verifies the bearer token; a `public` method is nobody's in particular, so its token is not looked at.
 *
 * Errors: unauthenticated/TOKEN_MISSING and the verifier's own. */
export async function identifyCaller(
  scope: string,
  { authorization, verifier }: CallCredentials,
): Promise<Caller> {
  if (scope === PUBLIC) return { principal: undefined, token: undefined };
  const token = BEARER.exec(authorization ?? "")?.[1];
  if (token === undefined) throw tokenMissing();
  return { principal: await verifier.verify(token), token };
}

/** What a method requires, as its plan says. */
export interface ScopeDemand {
  readonly scope: string;
  readonly checksResource: boolean;
}

/** Lets nothing through by default: the scope has to be granted, and not denied. One that is held on some resources only
 * is enough where the handler checks the resource.
 *
 * Errors: forbidden/SCOPE_MISSING, with the needed scope in the metadata. */
export function assertScope(principal: Principal | undefined, demand: ScopeDemand): void {
  if (principal !== undefined && isHeld(principal, demand)) return;
  const { scope } = demand;
  throw new NexusError({
    kind: "forbidden",
    reason: "SCOPE_MISSING",
    message: `The token lacks the scope ${scope}.`,
    details: { metadata: { required_scope: scope } },
  });
}

function isHeld(principal: Principal, { scope, checksResource }: ScopeDemand): boolean {
  if (scope === AUTHENTICATED || holdsScope(principal, scope)) return true;
  if (!checksResource || matchesScope(principal.deniedScopes ?? [], scope)) return false;
  return matchesScope(principal.limitedScopes ?? [], scope);
}

/** Errors: forbidden/SERVICE_ONLY. */
export function assertService(principal: Principal | undefined): void {
  if (principal?.kind === "service") return;
  throw new NexusError({
    kind: "forbidden",
    reason: "SERVICE_ONLY",
    message: "Only a service principal may call this.",
  });
}

/** Makes the error of a call without a bearer token. */
export function tokenMissing(): NexusError {
  return new NexusError({
    kind: "unauthenticated",
    reason: "TOKEN_MISSING",
    message: "This call needs a token: send `authorization: Bearer <token>`.",
  });
}
