import { compileResourcePattern, isResource, type ResourceMatcher } from "./resource.ts";
import { matchesScope } from "./scope.ts";

/** One rule of a policy. */
export interface PolicyStatement {
  readonly effect: "allow" | "deny";
  /** Scopes, with `*` as in a grant. */
  readonly actions: readonly string[];
  /** Resource patterns; none: whatever the resource is, and also when the request is about none. */
  readonly resources: readonly string[];
}

/** A named set of rules. */
export interface Policy {
  readonly name: string;
  readonly statements: readonly PolicyStatement[];
}

/** What somebody wants to do. */
export interface AccessRequest {
  /** The scope that the method requires. */
  readonly action: string;
  /** What it is to be done to, for example a key's name or a secret's path; left out when it is nothing in particular. */
  readonly resource?: string;
}

/** The answer, and why.
 *
 * `denied`: a deny matches. `allowed`: an allow matches, and no deny. `no_grant`: nothing matches, which is a no.
 * `malformed`: the resource is not in its only form, so no pattern can be trusted to speak of it; a no. */
export interface AccessDecision {
  readonly allowed: boolean;
  readonly reason: "allowed" | "denied" | "no_grant" | "malformed";
  /** The policy that decided: of several, the first by name, so that the order of policies does not show. */
  readonly policy?: string;
}

/** Policies made ready for many requests. */
export interface CompiledPolicies {
  decide(request: AccessRequest): AccessDecision;
}

interface Rule {
  readonly policy: string;
  readonly isDeny: boolean;
  readonly actions: readonly string[];
  /** Undefined: every resource, and none. */
  readonly matchers: readonly ResourceMatcher[] | undefined;
}

interface RulesOfAction {
  readonly denies: readonly Rule[];
  readonly allows: readonly Rule[];
}

/** Actions come from the contracts, so they are few; the cap only keeps a mistake from growing without end. */
const ACTIONS_MAX = 512;

const NO_GRANT: AccessDecision = { allowed: false, reason: "no_grant" };
const MALFORMED: AccessDecision = { allowed: false, reason: "malformed" };

function toRule(policy: string, { effect, actions, resources }: PolicyStatement): Rule {
  const matchers = resources.length === 0 ? undefined : resources.map(compileResourcePattern);
  return { policy, isDeny: effect === "deny", actions, matchers };
}

function ruleMatches({ matchers }: Rule, resource: string | undefined): boolean {
  if (matchers === undefined) return true;
  return resource !== undefined && matchers.some((matches) => matches(resource));
}

/** Makes policies ready: patterns are taken apart once, and the rules that speak of an action are found once per action.
 *
 * Nothing is allowed unless a statement allows it, and a matching deny wins over every allow, wherever either stands.
 * Cost of a decision: one map lookup, then the patterns of the rules for that action. */
export function compilePolicies(policies: readonly Policy[]): CompiledPolicies {
  const rules = [...policies]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ name, statements }) => statements.map((one) => toRule(name, one)));
  const byAction = new Map<string, RulesOfAction>();

  function rulesOf(action: string): RulesOfAction {
    const known = byAction.get(action);
    if (known !== undefined) return known;
    const about = rules.filter(({ actions }) => matchesScope(actions, action));
    const found = {
      denies: about.filter((rule) => rule.isDeny),
      allows: about.filter((rule) => !rule.isDeny),
    };
    if (byAction.size < ACTIONS_MAX) byAction.set(action, found);
    return found;
  }

  return {
    decide({ action, resource }) {
      if (resource !== undefined && !isResource(resource)) return MALFORMED;
      const { denies, allows } = rulesOf(action);
      const deny = denies.find((rule) => ruleMatches(rule, resource));
      if (deny !== undefined) return { allowed: false, reason: "denied", policy: deny.policy };
      const allow = allows.find((rule) => ruleMatches(rule, resource));
      if (allow === undefined) return NO_GRANT;
      return { allowed: true, reason: "allowed", policy: allow.policy };
    },
  };
}

/** Decides one request by some policies; compilePolicies is for many requests by the same ones. */
export function evaluate(policies: readonly Policy[], request: AccessRequest): AccessDecision {
  return compilePolicies(policies).decide(request);
}
