import type { AccessDecision, AccessRequest, CompiledPolicies, Namespace } from "@nexus/shared";
import { compilePolicies, matchesScope } from "@nexus/shared";
import { coalesced } from "../coalesced.ts";
import type { AccessPolicy } from "./policy.ts";
import { actionsOf, isFor } from "./policy.ts";
import type { PolicyFeed } from "./ports.ts";

/** Who asks, as a verified token says. */
export interface AccessSubject {
  readonly namespace: Namespace;
  readonly principalId: string;
  readonly scopes: readonly string[];
  readonly roles?: readonly string[];
  readonly deniedScopes?: readonly string[];
}

interface PoliciesOfNamespace {
  readonly policies: readonly AccessPolicy[];
  /** By subject: the policies that are for it, made ready. */
  readonly ready: Map<string, CompiledPolicies>;
}

/** Subjects whose policies are kept ready in one namespace; beyond it all of them are made anew as they come. */
const READY_MAX = 2000;
const BY_SCOPE: AccessDecision = { allowed: true, reason: "allowed" };
const BY_TOKEN: AccessDecision = { allowed: false, reason: "denied" };

/** The policies of all namespaces in memory, made ready for each subject at its first question.
 *
 * It reads on from its last revision, which misses nothing because revisions become visible in order; a changed namespace
 * is read anew as a whole. It has no timer: a loop calls refresh, and a mutation does after its commit. */
export class PolicyBook {
  readonly #feed: PolicyFeed;
  readonly #byNamespace = new Map<Namespace, PoliciesOfNamespace>();
  #head = 0n;

  constructor(feed: PolicyFeed) {
    this.#feed = feed;
  }

  /** Reads what was committed before this call. */
  readonly refresh: () => Promise<void> = coalesced(() => this.#read());

  /** Until nothing is left: a start must know every policy before the first call. */
  async #read(): Promise<void> {
    for (;;) {
      const changed = await this.#feed.changedAfter(this.#head);
      if (changed.length === 0) return;
      for (const { namespace, revision, policies } of changed) {
        if (policies.length === 0) this.#byNamespace.delete(namespace);
        else this.#byNamespace.set(namespace, { policies, ready: new Map() });
        this.#head = revision;
      }
    }
  }

  /** Decides by the token's scopes and the policies together: what either denies is refused, else either may allow. */
  decide(subject: AccessSubject, request: AccessRequest): AccessDecision {
    const byPolicy = this.decideByPolicies(subject, request);
    if (byPolicy.reason === "denied" || byPolicy.reason === "malformed") return byPolicy;
    if (matchesScope(subject.deniedScopes ?? [], request.action)) return BY_TOKEN;
    return matchesScope(subject.scopes, request.action) ? BY_SCOPE : byPolicy;
  }

  /** Decides by the policies alone, for resources that a scope of the method does not open. */
  decideByPolicies(subject: AccessSubject, request: AccessRequest): AccessDecision {
    return this.#readyFor(subject).decide(request);
  }

  /** Every action that the subject is denied, on all resources or on some. */
  deniedActions(subject: AccessSubject): readonly string[] {
    const policies = this.#byNamespace.get(subject.namespace)?.policies ?? [];
    const own = policies.filter((policy) => isFor(policy, subject));
    return [
      ...(subject.deniedScopes ?? []),
      ...own.flatMap(({ statements }) => actionsOf(statements, "deny")),
    ];
  }

  #readyFor(subject: AccessSubject): CompiledPolicies {
    const known = this.#byNamespace.get(subject.namespace);
    if (known === undefined) return NO_POLICIES;
    const { policies, ready } = known;
    const key = `${subject.principalId} ${(subject.roles ?? []).join(" ")}`;
    let compiled = ready.get(key);
    if (compiled === undefined) {
      compiled = compilePolicies(policies.filter((policy) => isFor(policy, subject)));
      if (ready.size >= READY_MAX) ready.clear();
      ready.set(key, compiled);
    }
    return compiled;
  }
}

const NO_POLICIES = compilePolicies([]);
