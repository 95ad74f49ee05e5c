import type { Logger } from "@nexus/shared";
import type { Metrics } from "@nexus/telemetry";
import type { CallAuditor } from "../call-auditor.ts";
import type { Principal, TokenVerifier } from "../principal.ts";
import type { Interceptor } from "../server/interceptor.ts";
import { createAdmitPeer } from "./admit-peer.ts";
import { createAudit } from "./audit.ts";
import { createAuthenticate } from "./authenticate.ts";
import { authorise } from "./authorise.ts";
import { createEnforceDeadline } from "./deadline.ts";
import { createErrorMap } from "./error-map.ts";
import { logCalls } from "./log.ts";
import { createMeasureCalls } from "./metrics.ts";
import { traceCalls } from "./trace.ts";
import { validate } from "./validate.ts";

/** What the layers need. */
export interface InterceptorDeps {
  readonly service: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly verifier: TokenVerifier;
  /** Undefined: the service keeps no audit entries. */
  readonly auditor: CallAuditor | undefined;
  readonly defaultDeadlineMs: number;
  /** Set where clients prove themselves by certificate. */
  readonly trustDomain: string | undefined;
  /** Who calls without a token; undefined: nobody may. */
  readonly localCaller: Principal | undefined;
}

/** The order of the onion, outermost first; this list is the only place that says it.
 *
 * 1. error-map: whatever fails inside, and only here, becomes a status.
 * 2. trace: outside of log, so that log lines carry the span.
 * 3. log, 4. metrics: see every outcome, refusals included.
 * 5. deadline: overtakes what is inside; the layers above see the end when the client does.
 * 6. audit: sees refused callers, and goes on writing when the deadline has overtaken it.
 * 7. admit-peer, where services prove themselves by certificate; 8. authenticate, 9. authorise: all before a byte of the
 *    payload is decoded.
 * 10. validate: decodes and checks; the handler gets only messages that keep the contract. */
export function standardInterceptors(deps: InterceptorDeps): Interceptor[] {
  return [
    createErrorMap(deps.service, deps.logger),
    traceCalls,
    logCalls,
    createMeasureCalls(deps.metrics),
    createEnforceDeadline(deps.defaultDeadlineMs),
    createAudit(deps.auditor),
    ...(deps.trustDomain === undefined
      ? []
      : [createAdmitPeer({ service: deps.service, trustDomain: deps.trustDomain })]),
    createAuthenticate(deps.verifier, deps.localCaller),
    authorise,
    validate,
  ];
}
