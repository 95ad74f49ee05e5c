/** Mail that never is, for tests of what stands beside it. */
import type { MessageEngineInit } from "../message/message-engine.ts";

/** An office that refuses to work and a desk that has nothing. */
export const NO_MAIL: Pick<MessageEngineInit, "office" | "desk"> = {
  office: {
    post: () => {
      throw new Error("no durable message is expected here");
    },
    arrived: () => undefined,
  },
  desk: {
    acknowledge: () => false,
    pump: () => undefined,
    restarted: () => undefined,
    ended: () => undefined,
  },
};
