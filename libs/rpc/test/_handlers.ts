/** Complete implementations for tests that care about one method. */
import type { DescService } from "@bufbuild/protobuf";
import { AgentSessionService } from "@nexus/proto/mesh";
import { JobService } from "@nexus/proto/orchestrator";
import { AuthService } from "@nexus/proto/vault";
import { NexusError } from "@nexus/shared";
import type { ServiceImplementation } from "../src/index.ts";

/** Fills every method that `some` leaves out with one that answers UNIMPLEMENTED. */
function complete<S extends DescService>(
  desc: S,
  some: Partial<ServiceImplementation<S>>,
): ServiceImplementation<S> {
  const all: Record<string, unknown> = {};
  for (const method of desc.methods) {
    all[method.localName] = () => {
      throw new NexusError({
        kind: "unimplemented",
        reason: "METHOD_NOT_FOUND",
        message: `The test has no ${method.name}.`,
      });
    };
  }
  return { ...all, ...some } as ServiceImplementation<S>;
}

/** AuthService: public and authenticated unary methods, one server stream. */
export function authHandlers(
  some: Partial<ServiceImplementation<typeof AuthService>>,
): ServiceImplementation<typeof AuthService> {
  return complete(AuthService, some);
}

/** JobService: methods with idempotency levels. */
export function jobHandlers(
  some: Partial<ServiceImplementation<typeof JobService>>,
): ServiceImplementation<typeof JobService> {
  return complete(JobService, some);
}

/** AgentSessionService: one bidirectional stream. */
export function sessionHandlers(
  connect: ServiceImplementation<typeof AgentSessionService>["connect"],
): ServiceImplementation<typeof AgentSessionService> {
  return complete(AgentSessionService, { connect });
}
