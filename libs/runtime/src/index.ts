export { countBuffersAsMemory } from "./buffer-memory.ts";
export { createDisposeStack, type DisposeStack } from "./dispose-stack.ts";
export type { FrameConfig } from "./frame-config.ts";
export type {
  RunningService,
  ServerOverrides,
  ServiceFrame,
  ServiceFrameOptions,
} from "./frame-contract.ts";
export type { Loop, LoopOptions } from "./loop.ts";
export { usePool, type WatchedPool } from "./pools.ts";
export { portError } from "./port-error.ts";
export type { ReadinessCheck } from "./readiness.ts";
export { type RunServiceOptions, runService } from "./run-service.ts";
export { createServiceFrame } from "./service-frame.ts";
export type { CertificateIssuer } from "./tls/certificate-agent.ts";
