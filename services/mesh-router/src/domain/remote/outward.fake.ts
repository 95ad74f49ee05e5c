/** The way to other replicas when there are none, for tests. */
import type { SessionDirectory } from "../session/session-directory.ts";
import type { Outward } from "./outward.ts";

export function aloneOutward(directory: SessionDirectory): Outward {
  return {
    find: (namespace, agentId) => directory.find(namespace, agentId),
    findSought: () => undefined,
    seek: () => undefined,
    enqueue: () => {
      throw new Error("there is no other replica");
    },
    reply: () => false,
    redirect: () => undefined,
  };
}
