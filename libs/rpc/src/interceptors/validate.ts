import type { DescMessage, Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { NexusError } from "@nexus/shared";
import type { Interceptor, ServerCall } from "../server/interceptor.ts";
import type { MethodPlan } from "../server/method-plan.ts";
import { decodeRequest } from "../wire/codec.ts";
import { surelyValid } from "./quick-rules.ts";

/** Compiled rules by type. One for the process: they depend on nothing but the contracts. A type's are compiled when a message of it
 * comes for the first time that the quick rules are not sure of: that takes tens of milliseconds, and doing it for all types at start took
 * a second of each service's start, for rules of which most are never asked for. That all compile, a test of the contracts sees. */
const validator = createValidator();

/** Decodes requests and checks them against the rules of the contract, each message of a stream as well.
 *
 * Decoding waits until here so that a caller without a token costs none of it. Raw methods keep their bytes.
 * Errors: invalid/REQUEST_MALFORMED, invalid/REQUEST_INVALID with every broken rule. */
export const validate: Interceptor = async (call, next) => {
  const { plan, transport } = call;
  const parse = parserOf(plan);
  if (plan.requestStream) {
    call.request = transport.openRequests(plan.audited ? noting(call, parse) : parse);
  } else {
    call.request = parse(transport.request);
    call.seen = call.request;
  }
  return next();
};

function parserOf({ raw, checked, method }: MethodPlan): (bytes: Buffer) => unknown {
  if (raw) return (bytes) => bytes;
  if (!checked) return (bytes) => decodeRequest(method.input, bytes);
  return (bytes) => parseRequest(method.input, bytes);
}

/** Notes the first message of a stream: the one that says what the stream is about. */
function noting(call: ServerCall, parse: (bytes: Buffer) => unknown): (bytes: Buffer) => unknown {
  return (bytes) => {
    const message = parse(bytes);
    call.seen ??= message;
    return message;
  };
}

/** Decodes a request and checks it. Errors: invalid/REQUEST_MALFORMED, invalid/REQUEST_INVALID with every broken rule. */
export function parseRequest(schema: DescMessage, bytes: Buffer): Message {
  const message = decodeRequest(schema, bytes);
  if (surelyValid(schema, message)) return message;
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return message;
  if (result.kind === "error") throw result.error;
  throw new NexusError({
    kind: "invalid",
    reason: "REQUEST_INVALID",
    message: describe(result.violations),
    details: {
      fieldViolations: result.violations.map((violation) => ({
        field: pathToString(violation.field),
        description: violation.message,
      })),
    },
  });
}

function describe(violations: readonly Violation[]): string {
  const [first] = violations;
  if (first === undefined) return "The request breaks a rule of the contract.";
  const rest = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  return `${pathToString(first.field) || "request"}: ${first.message}${rest}`;
}
