import { ConfigError, envPrefix } from "@nexus/core";

/** Tells a port that cannot be opened like the mistake of configuration that it is; other errors pass as they are.
 *
 * @example throw portError("gateway", "HTTP_PORT", 7480, error) // names NEXUS_GATEWAY_HTTP_PORT */
export function portError(service: string, thing: string, port: number, cause: unknown): unknown {
  const text = cause instanceof Error ? cause.message : "";
  if (!text.includes("EADDRINUSE") && !text.includes("EACCES")) return cause;
  const env = envPrefix(service) + thing;
  const why = text.includes("EACCES") ? "which this user may not open" : "which is in use";
  return new ConfigError(service, [{ env, problem: `is ${port}, ${why}`, example: "0" }]);
}
