export { createDisposeStack, type DisposeStack } from "./dispose-stack.ts";
export type { FrameConfig } from "./frame-config.ts";
export { createLoop, type Loop, type LoopOptions } from "./loop.ts";
export type { ReadinessCheck } from "./readiness.ts";
export { type RunServiceOptions, runService } from "./run-service.ts";
export {
  createServiceFrame,
  type RunningService,
  type ServerOverrides,
  type ServiceFrame,
  type ServiceFrameOptions,
} from "./service-frame.ts";
