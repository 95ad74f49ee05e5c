/** The secrets of one development stack: made at its first start, kept in its data directory, never in a log. */
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIENTS_OF_VAULT, type ServiceName, servicesWithStore } from "./services.ts";

const FILE_NAME = "secrets.json";
const CREDENTIALS_FILE_NAME = "admin-credentials.json";
const ROOT_KEY_FILE_NAME = "root.key";
const SECRET_BYTES = 32;
const PASSWORD_BYTES = 18;
const OWNER_ONLY = 0o600;

/** Everything that must stay the same over restarts of a stack. */
export interface StackSecrets {
  readonly adminPassword: string;
  /** What earlier versions sealed the keys in vault's store with; a stack that began later has none. */
  readonly keyEncryptionKey: string | undefined;
  readonly clientSecrets: Readonly<Record<string, string>>;
  readonly databasePasswords: Readonly<Record<string, string>>;
}

/** How to log in as the first administrator; the content of the credentials file. */
export interface AdminCredentials {
  readonly namespace: string;
  readonly user: string;
  readonly password: string;
}

/** Reads the secrets of a data directory, making those that are missing. Mode 0600. */
export function openSecrets(dataDir: string): StackSecrets {
  const file = join(dataDir, FILE_NAME);
  const stored = existsSync(file)
    ? (JSON.parse(readFileSync(file, "utf8")) as Partial<StackSecrets>)
    : {};
  const secrets = complete(stored);
  writePrivately(file, secrets);
  return secrets;
}

/** Returns the file with vault's root key, making a key at the first start. Mode 0600. Without the file nothing that vault
 * stores can be opened, so it stays in the data directory as long as the data does. */
export function openRootKeyFile(dataDir: string): string {
  const file = join(dataDir, ROOT_KEY_FILE_NAME);
  if (!existsSync(file)) writeTextPrivately(file, `${random(SECRET_BYTES, "base64")}\n`);
  return file;
}

/** Writes how to log in beside the secrets, in the form that the command line and the demo read; with `caFile`, by which the
 * gateway of a stack with TLS is known. Mode 0600. */
export function writeAdminCredentials(
  dataDir: string,
  secrets: StackSecrets,
  caFile?: string,
): string {
  const file = join(dataDir, CREDENTIALS_FILE_NAME);
  writePrivately(file, { ...adminCredentialsOf(secrets), caFile });
  return file;
}

/** Returns how to log in as the administrator that vault creates at its first start. */
export function adminCredentialsOf(secrets: StackSecrets): AdminCredentials {
  return { namespace: "default", user: "admin", password: secrets.adminPassword };
}

/** Returns the client secret of a service. */
export function clientSecretOf(secrets: StackSecrets, name: ServiceName): string {
  return secrets.clientSecrets[name] ?? "";
}

function complete(stored: Partial<StackSecrets>): StackSecrets {
  const stores = servicesWithStore().map(({ name }) => name);
  return {
    adminPassword: stored.adminPassword ?? random(PASSWORD_BYTES, "base64url"),
    keyEncryptionKey: stored.keyEncryptionKey,
    clientSecrets: fill(CLIENTS_OF_VAULT, stored.clientSecrets),
    databasePasswords: fill(stores, stored.databasePasswords),
  };
}

function fill(
  names: readonly string[],
  stored: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => [name, stored?.[name] ?? random(SECRET_BYTES, "base64url")]),
  );
}

function random(size: number, encoding: "base64" | "base64url"): string {
  return randomBytes(size).toString(encoding);
}

function writePrivately(file: string, content: object): void {
  writeTextPrivately(file, `${JSON.stringify(content, null, 2)}\n`);
}

/** Never readable by others, not even for a moment, and never half written. */
function writeTextPrivately(file: string, text: string): void {
  const draft = `${file}.${process.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, text, { mode: OWNER_ONLY, flag: "wx" });
  chmodSync(draft, OWNER_ONLY);
  renameSync(draft, file);
}
