import { randomUUID } from "node:crypto";
import { fromJsonString, type MessageShape } from "@bufbuild/protobuf";
import {
  DecisionReason,
  Effect,
  ListPoliciesResponseSchema,
  type PolicySchema,
  PutPolicyRequestSchema,
} from "@nexus/proto/vault";
import { MiB } from "@nexus/shared";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { readInput } from "../input.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { absent } from "./absent.ts";
import { parseLimit } from "./numbers.ts";

/** More than any policy that vault takes. */
const POLICY_BYTES_MAX = 1 * MiB;

/** Lists policies. */
export const policiesListCommand: CommandSpec = {
  usage: "policies list",
  about: "List the policies of the namespace",
  example: "nexus policies list",
  flags: [{ flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" }],
  run: async (ctx, args) => {
    const page = { pageSize: parseLimit(args.text("limit")) };
    const response = await ctx.client().access.listPolicies({ page });
    if (ctx.format === "json") {
      writeJson(ctx, ListPoliciesResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { name } of response.policies) writeLine(ctx, name);
    } else {
      const rows = response.policies.map((policy) => [
        policy.name,
        subjectsOf(policy),
        showTime(policy.updateTime),
        rulesOf(policy),
      ]);
      writeTable(ctx, ["policy", "for", "changed", "rules"], rows);
    }
    return EXIT.ok;
  },
};

type Policy = MessageShape<typeof PolicySchema>;

function subjectsOf({ everyone, roles, principalIds }: Policy): string {
  if (everyone) return "everyone";
  return [...roles.map((role) => `role:${role}`), ...principalIds].join(" ");
}

function rulesOf({ statements }: Policy): string {
  return statements
    .map(({ effect, actions, resources }) => {
      const on = resources.length === 0 ? "" : ` on ${resources.join(" ")}`;
      return `${showEnum(Effect, effect)} ${actions.join(" ")}${on}`;
    })
    .join("; ");
}

/** Creates or replaces a policy. */
export const policiesPutCommand: CommandSpec = {
  usage: "policies put <policy>",
  about: "Create a policy or replace it whole, from a JSON file; a deny wins over every allow",
  example: "nexus policies put no-prod --file no-prod.json",
  flags: [
    { flags: "--file <file>", about: "statements and whom they are for, as PutPolicy has them" },
  ],
  run: async (ctx, args) => {
    const file = args.text("file");
    if (file === undefined) throw usageError("Give the rules with --file.");
    const text = await readInput(ctx, args, { what: "the policy", maxBytes: POLICY_BYTES_MAX });
    const request = parsePolicy(file, text.toString());
    const { policy } = await ctx.client().access.putPolicy({
      ...request,
      requestId: randomUUID(),
      name: args.at(0),
    });
    if (policy !== undefined) {
      writeLine(ctx, `Policy ${policy.name} for ${subjectsOf(policy)}: ${rulesOf(policy)}`);
    }
    return EXIT.ok;
  },
};

/** Errors: USAGE, with what is wrong. */
function parsePolicy(file: string, text: string): MessageShape<typeof PutPolicyRequestSchema> {
  try {
    return fromJsonString(PutPolicyRequestSchema, text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw usageError(`The file ${file} is no policy: ${why}`);
  }
}

/** Removes a policy. */
export const policiesDeleteCommand: CommandSpec = {
  usage: "policies delete <policy>",
  about: "Remove a policy",
  example: "nexus policies delete no-prod",
  run: async (ctx, args) => {
    const name = args.at(0);
    const { wasAbsent } = await ctx.client().access.deletePolicy({ requestId: randomUUID(), name });
    if (wasAbsent) throw absent("POLICY_NOT_FOUND", `The namespace has no policy ${name}.`);
    writeLine(ctx, `Deleted ${name}.`);
    return EXIT.ok;
  },
};

/** Says what somebody may do. */
export const policiesCheckCommand: CommandSpec = {
  usage: "policies check <principal> <action> [resource]",
  about:
    "Say whether a principal may do something, and by which policy; exit code 7 when it may not",
  example: "nexus policies check my-agent vault:secret:read prod/db",
  run: async (ctx, args) => {
    const { allowed, reason, policy } = await ctx.client().access.checkAccess({
      principalId: args.at(0),
      action: args.at(1),
      resource: args.at(2),
    });
    const why = showEnum(DecisionReason, reason);
    if (ctx.format === "json") writeLine(ctx, JSON.stringify({ allowed, reason: why, policy }));
    else writeLine(ctx, `${allowed ? "yes" : "no"}: ${why}${policy === "" ? "" : ` by ${policy}`}`);
    return allowed ? EXIT.ok : EXIT.awaitedFailed;
  },
};
