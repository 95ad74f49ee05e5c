/** What the contracts say about the audit log: which methods are in it, and that no secret is kept. */
import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  getOption,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { AuditRule, audit, audited, internal, required_scope } from "@nexus/proto/common";
import * as gateway from "@nexus/proto/gateway";
import * as insight from "@nexus/proto/insight";
import * as mesh from "@nexus/proto/mesh";
import * as orchestrator from "@nexus/proto/orchestrator";
import * as registry from "@nexus/proto/registry";
import * as vault from "@nexus/proto/vault";
import { describe, expect, it } from "vitest";

const DOMAINS = { gateway, insight, mesh, orchestrator, registry, vault };

/** Data of agents, whose every version says who wrote it and why. */
const IN_THE_LOG =
  "moves data between agents; each version names its writer, and the bucket keeps a log";

/** Public methods that change something and leave no entry, each with its reason. */
const NOT_AUDITED: Readonly<Record<string, string>> = {
  "TransitService.HashPassword": "uses no key of anybody's and keeps nothing",
  "TransitService.GenerateRandom": "uses no key and keeps nothing",
  "MessagingService.CallAgent": "moves data between agents; the mesh counts messages",
  "MessagingService.SendMessage": "moves data between agents; the mesh counts messages",
  "StateService.DeleteEntry": IN_THE_LOG,
  "StateService.IncrementEntry": IN_THE_LOG,
  "StateService.PutEntry": IN_THE_LOG,
  "StateService.ResolveEntry": IN_THE_LOG,
  "StateService.Transact": IN_THE_LOG,
  "StateService.WriteEntries": IN_THE_LOG,
  "PayloadService.FindPayload": "changes only how long a body is kept",
};

/** Names of fields that hold secrets, or may. */
const SECRET =
  /password|secret|token|plaintext|ciphertext|root_key|private|wrapped|signature|hmac|phc|^data$|chunk|payload|value|input|output|content|body/;

/** Kept although its name sounds like a secret. */
const NO_SECRET = new Set([
  "nexus.vault.v1.GenerateDataKeyRequest.wrapped_only",
  "nexus.vault.v1.RevokeTokensRequest.token_id",
]);

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

function isAudited(method: DescMethod): boolean {
  return method.proto.options !== undefined && getOption(method, audited);
}

/** A message and all that it holds. */
function closure(roots: readonly DescMessage[]): Set<DescMessage> {
  const found = new Set(roots);
  for (const schema of found) {
    for (const field of schema.fields) if (field.message !== undefined) found.add(field.message);
  }
  return found;
}

function ruleOf(field: DescField): AuditRule {
  return field.proto.options === undefined ? AuditRule.UNSPECIFIED : getOption(field, audit);
}

const auditedMessages = closure(
  methods.filter(isAudited).flatMap(({ input, output }) => [input, output]),
);

describe("audited methods", () => {
  it("are all public ones that change something, but for those that say why not", () => {
    const changing = methods.filter(
      (method) =>
        !getOption(method.parent, internal) &&
        method.methodKind === "unary" &&
        method.idempotency !== Level.NO_SIDE_EFFECTS,
    );
    const missing = changing.filter((method) => !isAudited(method)).map(nameOf);
    expect(missing.sort()).toEqual(Object.keys(NOT_AUDITED).sort());
  });

  it("name what they are about, or are about the caller or the whole service", () => {
    const ABOUT_NO_ONE_THING = [
      "AuditLogService.ExportEntries",
      "AuditLogService.ListEntries",
      "AuditLogService.WatchEntries",
      "AuthService.ChangePassword",
      "AuthService.Logout",
      "AuthService.RefreshToken",
      "AuthService.RotateSigningKey",
      "CaService.IssueCertificate",
      "CaService.RotateCa",
      "DeadMessageService.PurgeDeadMessages",
      "DeadMessageService.RedeliverDeadMessages",
      "JobService.RedriveDeadLetters",
      // The orchestrator notes the id that it gives the job.
      "JobService.SubmitJob",
      "KeyService.RotateNamespaceKey",
      "SealService.Seal",
      "SealService.Unseal",
      "SealService.UnsealFromProvider",
      "TransitService.VerifyPassword",
    ];
    const nameless = methods
      .filter(isAudited)
      .filter(
        ({ input }) =>
          ![...closure([input])].some((schema) =>
            schema.fields.some((field) => ruleOf(field) === AuditRule.RESOURCE),
          ),
      );
    expect(nameless.map(nameOf).sort()).toEqual(ABOUT_NO_ONE_THING);
  });

  it("cover every method that needs a scope of the vault to use a key", () => {
    const uses = /^vault:transit:(encrypt|decrypt|rewrap|sign|verify|hmac|generate-data-key)$/;
    const open = methods.filter(
      (method) => uses.test(getOption(method, required_scope)) && !isAudited(method),
    );
    expect(open.map(nameOf)).toEqual([]);
  });
});

describe("kept fields", () => {
  it("hold no secret, and no bytes", () => {
    const kept = [...auditedMessages].flatMap((schema) =>
      schema.fields.filter((field) => [AuditRule.KEEP, AuditRule.RESOURCE].includes(ruleOf(field))),
    );
    const bad = kept.filter((field) => {
      const isBytes = field.fieldKind === "scalar" && field.scalar === 12;
      const name = `${field.parent.typeName}.${field.name}`;
      return (isBytes || SECRET.test(field.name)) && !NO_SECRET.has(name);
    });
    expect(bad.map((field) => `${field.parent.typeName}.${field.name}`)).toEqual([]);
    expect(kept.length).toBeGreaterThan(20);
  });
});
