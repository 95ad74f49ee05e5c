/** @nexus/bus: signals between the replicas of one service. A signal and a cache, never the truth. */
export {
  BODY_BYTES_MAX,
  type Bus,
  type BusEvents,
  type BusGap,
  type BusMessage,
  type BusSubscriber,
  type GapCause,
  NAME_BYTES_MAX,
  type PeerObserver,
} from "./bus.ts";
export {
  createMemoryBus,
  createMemoryHub,
  type MemoryBusOptions,
  type MemoryHub,
} from "./memory-bus.ts";
export { createRedisBus, type RedisBusOptions } from "./redis/redis-bus.ts";
