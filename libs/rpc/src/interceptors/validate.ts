import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { NexusError } from "@nexus/shared";
import type { Interceptor, ServerCall } from "../server/interceptor.ts";
import type { MethodPlan } from "../server/method-plan.ts";
import { decodeRequest } from "../wire/codec.ts";
import { surelyValid } from "./quick-rules.ts";

/** Compiled rules by type. One for the process: they depend on nothing but the contracts, and compiling those of six
 * services takes 0.3 s of CPU, which tests would pay for each server. */
const validator = createValidator();

/** Decodes requests and checks them against the rules of the contract, each message of a stream as well.
 *
 * Decoding waits until here so that a caller without a token costs none of it. Raw methods keep their bytes.
 * Errors: invalid/REQUEST_MALFORMED, invalid/REQUEST_INVALID with every broken rule. */
export function createValidate(plans: readonly MethodPlan[]): Interceptor {
  const inputs = plans.filter(({ checked }) => checked).map(({ method }) => method.input);
  for (const schema of messageClosure(inputs)) warmUp(schema);

  function parserOf({ raw, checked, method }: MethodPlan): (bytes: Buffer) => unknown {
    if (raw) return (bytes) => bytes;
    if (!checked) return (bytes) => decodeRequest(method.input, bytes);
    return (bytes) => parseRequest(method.input, bytes);
  }

  return async (call, next) => {
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
}

/** Notes the first message of a stream: the one that says what the stream is about. */
function noting(call: ServerCall, parse: (bytes: Buffer) => unknown): (bytes: Buffer) => unknown {
  return (bytes) => {
    const message = parse(bytes);
    call.seen ??= message;
    return message;
  };
}

/** Returns the types and all they hold: the rules of a nested type are compiled when one is first met. */
function messageClosure(roots: readonly DescMessage[]): Set<DescMessage> {
  const found = new Set(roots);
  for (const schema of found) {
    for (const field of schema.fields) if (field.message !== undefined) found.add(field.message);
  }
  return found;
}

/** Compiles the rules of a type. The first use of a type costs tens of milliseconds, so it happens at start. */
function warmUp(schema: DescMessage): void {
  const result = validator.validate(schema, create(schema));
  if (result.kind === "error") {
    throw new Error(`The rules of ${schema.typeName} do not compile.`, { cause: result.error });
  }
}

function parseRequest(schema: DescMessage, bytes: Buffer): Message {
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
