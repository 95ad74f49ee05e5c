import { SERVICE_SCOPES } from "./scope-sets.ts";

/** Fewest characters of a client secret that a deployment chooses: 32 of base64url are 192 bits. */
export const SERVICE_SECRET_LENGTH_MIN = 32;
const SERVICE_SECRET_LENGTH_MAX = 256;

/** The secrets of the services, or what is wrong with their text. */
export type ParsedServiceSecrets =
  | { readonly secrets: ReadonlyMap<string, string> }
  | { readonly problem: string };

/** Reads `name=secret,...`; spaces around the parts are dropped, the empty text gives none. A problem never repeats
 * a secret. */
export function parseServiceSecrets(text: string): ParsedServiceSecrets {
  const secrets = new Map<string, string>();
  for (const part of text.split(",").map((item) => item.trim())) {
    if (part === "") continue;
    const separator = part.indexOf("=");
    const name = part.slice(0, Math.max(0, separator)).trim();
    const secret = part.slice(separator + 1).trim();
    if (!Object.hasOwn(SERVICE_SCOPES, name)) {
      return { problem: `must name services of NEXUS: ${Object.keys(SERVICE_SCOPES).join(", ")}` };
    }
    if (secret.length < SERVICE_SECRET_LENGTH_MIN || secret.length > SERVICE_SECRET_LENGTH_MAX) {
      const range = `${SERVICE_SECRET_LENGTH_MIN} to ${SERVICE_SECRET_LENGTH_MAX}`;
      return { problem: `must give ${name} a secret of ${range} characters` };
    }
    if (secrets.has(name)) return { problem: `names ${name} twice` };
    secrets.set(name, secret);
  }
  return { secrets };
}
