import {
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import {
  allowed_callers,
  audited,
  internal,
  required_scope,
  resource_field,
} from "@nexus/proto/common";
import { isRequestStream, isResponseStream, methodPath } from "../wire/codec.ts";

/** Scope word of a method that needs no token. */
export const PUBLIC = "public";

/** Scope word of a method that needs any valid token. */
export const AUTHENTICATED = "authenticated";

/** Caller word of a method that needs no client certificate, also where others do. */
export const ANYONE = "anyone";

/** Caller word of a method that every service may call. Not for contracts of ours: those name their callers. */
export const ANY_SERVICE = "any service";

/** Everything about a method that is the same for each of its calls. */
export interface MethodPlan {
  readonly method: DescMethod;
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  /** `public`, `authenticated`, or the scope a token must hold. */
  readonly scope: string;
  /** True when the handler asks the caller's policies for each resource, so that a scope on some of them is enough here. */
  readonly checksResource: boolean;
  /** True when only NEXUS services may call it, whatever scopes others hold. */
  readonly internal: boolean;
  /** Services that may call it directly, or `anyone`; beside those that every public contract is open to. */
  readonly callers: readonly string[];
  /** True when each call leaves an entry in the audit log. */
  readonly audited: boolean;
  /** True when payloads stay bytes: no decoding, no validation. */
  readonly raw: boolean;
  /** True when another service owns the contract and guards the tokens of its streams. */
  readonly relayed: boolean;
  /** False when requests are decoded but not held against the contract's rules. */
  readonly checked: boolean;
  /** Runs the handler; requests were decoded and validated, or are Buffers when raw. */
  readonly handler: (request: never, ctx: never) => unknown;
}

/** What differs between the services of one server. */
export interface PlanOptions {
  readonly raw?: boolean;
  readonly relayed?: boolean;
  readonly unchecked?: readonly string[];
}

/** Plans every method of a service. A method without required_scope cannot be served.
 *
 * Errors: a plain Error, a programmer's mistake that has to stop the start. */
export function planService(
  service: DescService,
  handlerOf: (method: DescMethod) => MethodPlan["handler"],
  options: PlanOptions = {},
): MethodPlan[] {
  return service.methods.map((method) => planMethod(method, handlerOf(method), options));
}

/** Plans one method; as planService(). */
export function planMethod(
  method: DescMethod,
  handler: MethodPlan["handler"],
  { raw = false, relayed = false, unchecked = [] }: PlanOptions = {},
): MethodPlan {
  return {
    method,
    path: methodPath(method),
    requestStream: isRequestStream(method),
    responseStream: isResponseStream(method),
    scope: scopeOf(method),
    checksResource: resourceFieldOf(method) !== "",
    internal: getOption(method.parent, internal),
    callers: callersOf(method),
    audited: method.proto.options !== undefined && getOption(method, audited),
    raw,
    relayed,
    checked: !raw && !unchecked.includes(method.localName),
    handler,
  };
}

/** Services that are not ours, so carry no scope: health checks and reflection need no token. */
const OPEN_PACKAGES = ["grpc.health.", "grpc.reflection."];

/** Returns the scope a method requires. Errors: a plain Error when its descriptor has no required_scope. */
export function scopeOf(method: DescMethod): string {
  if (isOpen(method)) return PUBLIC;
  if (method.proto.options !== undefined && hasOption(method, required_scope)) {
    const scope = getOption(method, required_scope);
    if (scope !== "") return scope;
  }
  throw new Error(
    `${methodPath(method)} has no (nexus.common.v1.required_scope): it cannot be served.`,
  );
}

/** Returns the services that a contract lets call the method directly. */
export function callersOf(method: DescMethod): readonly string[] {
  if (isOpen(method)) return [ANY_SERVICE];
  return method.proto.options === undefined ? [] : getOption(method, allowed_callers);
}

function isOpen({ parent }: DescMethod): boolean {
  return OPEN_PACKAGES.some((name) => parent.typeName.startsWith(name));
}

/** Returns the request field that names what the method is about; empty when its handler asks about no resource. */
export function resourceFieldOf(method: DescMethod): string {
  return method.proto.options === undefined ? "" : getOption(method, resource_field);
}

/** Any decoded message, when its type is known by the plan only. */
export type AnyMessage = Message;
