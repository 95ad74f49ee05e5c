import type { DescService } from "@bufbuild/protobuf";
import { AnalyticsService, WitnessService } from "@nexus/proto/insight";
import {
  AgentSessionService,
  DeadMessageService,
  MessagingService,
  StateService,
} from "@nexus/proto/mesh";
import { JobService, PayloadService } from "@nexus/proto/orchestrator";
import { RegistryService } from "@nexus/proto/registry";
import {
  AccessService,
  AnomalyService,
  AuditLogService,
  AuthService,
  CaService,
  KeyService,
  PrincipalService,
  SecretService,
  TransitService,
} from "@nexus/proto/vault";

/** A service behind the gateway. */
export type Upstream = "registry" | "orchestrator" | "mesh-router" | "vault" | "insight";

/** Every public contract and its owner, besides the gateway's own StatusService.
 *
 * What is not listed does not exist from outside: internal contracts, and those that are called at their owner's own
 * address, are answered UNIMPLEMENTED. A test holds
 * this table against all contracts, so that none is forgotten. */
export const ROUTES: readonly { readonly desc: DescService; readonly upstream: Upstream }[] = [
  { desc: AuthService, upstream: "vault" },
  { desc: CaService, upstream: "vault" },
  { desc: PrincipalService, upstream: "vault" },
  { desc: AccessService, upstream: "vault" },
  { desc: KeyService, upstream: "vault" },
  { desc: TransitService, upstream: "vault" },
  { desc: SecretService, upstream: "vault" },
  { desc: AuditLogService, upstream: "vault" },
  { desc: AnomalyService, upstream: "vault" },
  { desc: RegistryService, upstream: "registry" },
  { desc: JobService, upstream: "orchestrator" },
  { desc: PayloadService, upstream: "orchestrator" },
  { desc: AgentSessionService, upstream: "mesh-router" },
  { desc: MessagingService, upstream: "mesh-router" },
  { desc: DeadMessageService, upstream: "mesh-router" },
  { desc: StateService, upstream: "mesh-router" },
  { desc: AnalyticsService, upstream: "insight" },
  { desc: WitnessService, upstream: "insight" },
];
