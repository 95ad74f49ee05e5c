import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** What a login leaves behind for the next command. */
export interface Profile {
  readonly gateway: string;
  /** The gateway is called over TLS. */
  readonly tls?: boolean;
  /** PEM file with its CA certificates; not set: those of the system. */
  readonly caFile?: string;
  readonly principalId: string;
  readonly namespace: string;
  readonly accessToken: string;
  readonly accessExpiresAtMs: number;
  readonly refreshToken: string;
}

/** Folder of the profile: NEXUS_CONFIG_DIR, else `nexus` in XDG_CONFIG_HOME or ~/.config. */
export function profileFolder(env: NodeJS.ProcessEnv): string {
  const chosen = env["NEXUS_CONFIG_DIR"];
  if (chosen !== undefined && chosen !== "") return chosen;
  return join(env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"), "nexus");
}

/** Reads the profile; undefined when nobody is logged in or the file is not ours. */
export function readProfile(env: NodeJS.ProcessEnv): Profile | undefined {
  let text: string;
  try {
    text = readFileSync(profilePath(env), "utf8");
  } catch {
    // No profile: nobody has logged in.
    return undefined;
  }
  const value = JSON.parse(text) as Partial<Profile>;
  const whole = typeof value.gateway === "string" && typeof value.refreshToken === "string";
  return whole ? (value as Profile) : undefined;
}

/** Writes the profile whole or not at all, readable by its owner only. */
export function writeProfile(env: NodeJS.ProcessEnv, profile: Profile): void {
  const folder = profileFolder(env);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = profilePath(env);
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
  chmodSync(draft, 0o600);
  renameSync(draft, path);
}

/** Forgets the login. */
export function removeProfile(env: NodeJS.ProcessEnv): void {
  rmSync(profilePath(env), { force: true });
}

function profilePath(env: NodeJS.ProcessEnv): string {
  return join(profileFolder(env), "profile.json");
}
