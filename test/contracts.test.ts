/** What every contract promises beside what buf lint sees: scopes, retry safety, paging. */
import { type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import {
  allowed_callers,
  direct,
  internal,
  required_scope,
  resource_field,
} from "@nexus/proto/common";
import * as gateway from "@nexus/proto/gateway";
import * as insight from "@nexus/proto/insight";
import * as kms from "@nexus/proto/kms";
import * as mesh from "@nexus/proto/mesh";
import * as orchestrator from "@nexus/proto/orchestrator";
import * as registry from "@nexus/proto/registry";
import * as vault from "@nexus/proto/vault";
import { describe, expect, it } from "vitest";

const DOMAINS = { gateway, insight, mesh, orchestrator, registry, vault };
const INTERNAL = [
  "AuditIntakeService",
  "DispatchService",
  "LeaseService",
  "MetricsService",
  "OutcomeService",
  "PresenceService",
];
/** What certificates call the services, by contracts' domain. */
const SERVICES = {
  gateway,
  registry,
  orchestrator,
  "mesh-router": mesh,
  vault,
  insight,
};
const SCOPE = /^[a-z]+:[a-z-]+:[a-z-]+$/;
const RESUME_FIELDS = ["resume_token", "resume_revision", "after_sequence", "resume_index"];
const NO_SCOPE = ["public", "authenticated"];

const services: DescService[] = Object.values(DOMAINS).flatMap((module) =>
  Object.values(module as Record<string, unknown>).filter(isService),
);
const methods: DescMethod[] = services.flatMap((service) => service.methods);

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

function nameOf(method: DescMethod): string {
  return `${method.parent.name}.${method.name}`;
}

function fieldOf(method: DescMethod): string {
  return getOption(method, resource_field);
}

function hasField(message: DescMethod["input"], name: string): boolean {
  return message.fields.some((field) => field.name === name);
}

function hasMessage(message: DescMethod["input"], typeName: string): boolean {
  return message.fields.some((field) => field.message?.typeName === typeName);
}

describe("contracts", () => {
  it("give every method the scope that a caller needs", () => {
    const bad = methods.filter((method) => {
      const scope = getOption(method, required_scope);
      return !NO_SCOPE.includes(scope) && !SCOPE.test(scope);
    });
    expect(bad.map(nameOf)).toEqual([]);
    expect(methods.length).toBeGreaterThan(0);
  });

  it("say of what the call is about wherever it names a key, so that policies are asked", () => {
    const namesOne = ({ input, parent }: DescMethod) =>
      input.fields.some(({ name }) => name === "key_name") ||
      (parent.name === "KeyService" && hasField(input, "name"));
    const silent = methods.filter((method) => namesOne(method) && fieldOf(method) === "");
    expect(silent.map(nameOf)).toEqual([]);
    const named = methods.filter((method) => !["", "*"].includes(fieldOf(method)));
    expect(named.length).toBeGreaterThan(0);
    const missing = named.filter((method) => {
      const path = fieldOf(method).split(".");
      const last = path.pop() ?? "";
      const message = path.reduce<DescMethod["input"] | undefined>(
        (inner, step) => inner?.fields.find(({ name }) => name === step)?.message,
        method.input,
      );
      return message === undefined || !hasField(message, last);
    });
    expect(missing.map(nameOf)).toEqual([]);
    // Where nobody asks about resources, no statement may speak of them; vault refuses such a policy.
    const scopes = methods
      .filter((method) => fieldOf(method) !== "")
      .map((method) => getOption(method, required_scope));
    for (const scope of scopes) expect(scope).toMatch(/^vault:(key|transit|secret|secret-lease):/);
  });

  it("let nobody without a token do more than sign in, read public facts, or bring the root key", () => {
    const open = methods.filter((method) => getOption(method, required_scope) === "public");
    expect(open.map(nameOf).sort()).toEqual([
      "AuthService.GetJwks",
      "AuthService.GrantClientToken",
      "AuthService.Login",
      "AuthService.RefreshToken",
      "SealService.GetSealStatus",
      "SealService.Unseal",
    ]);
  });

  it("leave the proof to the connection where a neighbour serves them: the KMS of a vault without tokens", () => {
    const neighbours = Object.values(kms as Record<string, unknown>).filter(isService);
    expect(neighbours.map(({ name }) => name)).toEqual(["KmsService"]);
    const scopes = neighbours.flatMap(({ methods }) =>
      methods.map((method) => getOption(method, required_scope)),
    );
    expect(new Set(scopes)).toEqual(new Set(["public"]));
  });

  it("mark exactly the services that the gateway refuses", () => {
    const marked = services.filter((service) => getOption(service, internal));
    expect(marked.map(({ name }) => name).sort()).toEqual(INTERNAL);
  });

  it("mark as direct what carries the root key, and nothing else", () => {
    const marked = services.filter((service) => getOption(service, direct));
    expect(marked.map(({ name }) => name)).toEqual(["SealService"]);
  });

  it("say of each internal method which services may call it, by their names", () => {
    const unnamed = methods.filter(
      (method) =>
        getOption(method.parent, internal) && getOption(method, allowed_callers).length === 0,
    );
    expect(unnamed.map(nameOf)).toEqual([]);
    const words = new Set(methods.flatMap((method) => getOption(method, allowed_callers)));
    expect([...words].filter((word) => word !== "anyone" && !(word in SERVICES))).toEqual([]);
  });

  it("need no certificate only where a service comes to its first one, or a person calls directly", () => {
    const open = methods.filter((method) => getOption(method, allowed_callers).includes("anyone"));
    const byPeople = methods.filter((method) => getOption(method.parent, direct));
    expect(
      open
        .filter((method) => !byPeople.includes(method))
        .map(nameOf)
        .sort(),
    ).toEqual(["AuthService.GrantClientToken", "CaService.IssueCertificate"]);
    expect(byPeople.filter((method) => !open.includes(method))).toEqual([]);
  });

  it("carry a request_id wherever a retry could do the same thing twice, but for four that say so", () => {
    const unsafe = methods.filter(
      (method) =>
        method.methodKind === "unary" &&
        method.idempotency === Level.IDEMPOTENCY_UNKNOWN &&
        !hasField(method.input, "request_id"),
    );
    expect(unsafe.map(nameOf).sort()).toEqual([
      "AuthService.Login",
      "AuthService.RefreshToken",
      "MessagingService.CallAgent",
      "MessagingService.SendMessage",
    ]);
  });

  it("page every list in the same way", () => {
    const lists = methods.filter((method) => method.name.startsWith("List"));
    const unpaged = lists.filter(
      ({ input, output }) =>
        !hasMessage(input, "nexus.common.v1.PageRequest") ||
        !hasMessage(output, "nexus.common.v1.PageInfo"),
    );
    expect(unpaged.map(nameOf)).toEqual([]);
  });

  it("let every watch go on after the last event seen", () => {
    const watches = methods.filter((method) => method.name.startsWith("Watch"));
    const lossy = watches.filter(
      ({ input }) => !RESUME_FIELDS.some((name) => hasField(input, name)),
    );
    expect(lossy.map(nameOf)).toEqual([]);
  });
});
