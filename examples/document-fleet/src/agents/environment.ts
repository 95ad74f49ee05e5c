/** What every agent of the fleet is told by whoever starts it. */
export interface AgentEnvironment {
  readonly agentId: string;
  readonly gateway: string;
  readonly tls: { readonly caFile: string } | undefined;
  readonly clientSecret: string;
  readonly slots: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** Reads an agent's environment; a missing variable is named.
 *
 * NEXUS_AGENT_ID, NEXUS_GATEWAY (`host:port`), NEXUS_AGENT_SECRET, and optionally NEXUS_AGENT_SLOTS (default 1),
 * NEXUS_AGENT_LABELS (`key=value,key=value`) and NEXUS_CA_FILE (PEM), with which the gateway is called over TLS. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): AgentEnvironment {
  const caFile = env["NEXUS_CA_FILE"];
  return {
    agentId: required(env, "NEXUS_AGENT_ID"),
    gateway: required(env, "NEXUS_GATEWAY"),
    tls: caFile === undefined || caFile === "" ? undefined : { caFile },
    clientSecret: required(env, "NEXUS_AGENT_SECRET"),
    slots: Number.parseInt(env["NEXUS_AGENT_SLOTS"] ?? "1", 10),
    labels: parseLabels(env["NEXUS_AGENT_LABELS"] ?? ""),
  };
}

function required(env: NodeJS.ProcessEnv, name: string): string {
  const value = env[name];
  if (value === undefined || value === "") throw new Error(`Set ${name}.`);
  return value;
}

function parseLabels(text: string): Record<string, string> {
  const pairs = text.split(",").filter((pair) => pair.includes("="));
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
