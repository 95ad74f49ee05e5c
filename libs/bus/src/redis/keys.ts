/** The names of everything in Redis. One deployment's replicas meet, two deployments' never do. */

/** The address that stands for every replica. No replica has it: names are not empty. */
export const EVERYONE = "";

/** Names keys. */
export interface Keys {
  /** The stream of a replica, or everyone's. */
  stream(to: string): string;
  value(key: string): string;
}

/** Names the keys of one deployment's service. The braces keep them in one slot of a cluster. */
export function createKeys(deployment: string): Keys {
  const prefix = `{nexus:${deployment}:bus}`;
  return {
    stream: (to) => (to === EVERYONE ? `${prefix}:all` : `${prefix}:to:${to}`),
    value: (key) => `${prefix}:value:${key}`,
  };
}
