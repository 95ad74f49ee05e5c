import { DEFAULT_NAMESPACE, SYSTEM_NAMESPACE } from "@nexus/shared";
import type { CryptoManager } from "./crypto-manager.ts";
import type { Peppers } from "./peppers.ts";
import type { PrincipalReader, PrincipalUpkeep } from "./ports.ts";
import { ADMIN_SCOPES, SERVICE_SCOPES } from "./scope-sets.ts";

/** The id of the first administrator, in the namespace `default`; it creates those of other namespaces. */
export const ADMIN_ID = "admin";

/** What the first start reports. */
export interface BootstrapEvents {
  adminCreated(): void;
  /** The one time that a generated password is shown. */
  adminPasswordGenerated(password: string): void;
  serviceReady(name: string, change: "created" | "changed" | "unchanged"): void;
  /** How many passwords of users that are not disabled are under the pepper before, and how many under one that is not accepted any
   * more; with version `acceptsAll` none of them would be refused. */
  peppersCounted(counted: {
    readonly version: number;
    readonly previous: number;
    readonly refused: number;
    readonly acceptsAll: number;
  }): void;
  /** The count failed, which hinders nothing. */
  peppersNotCounted(error: unknown): void;
}

/** What bootstrapping needs. */
export interface BootstrapOptions {
  readonly principals: PrincipalReader;
  readonly upkeep: PrincipalUpkeep;
  readonly crypto: CryptoManager;
  readonly events: BootstrapEvents;
  /** Undefined: a password is made and reported when the administrator has to be created. */
  readonly adminPassword: string | undefined;
  /** Client secrets of the NEXUS services, by service name. */
  readonly serviceSecrets: ReadonlyMap<string, string>;
  readonly peppers: Pick<Peppers, "version" | "oldest">;
}

/** Creates the administrator if it is missing and brings the service principals up to date. Idempotent, and safe
 * from several replicas at once: whoever inserts first wins, and only it reports. */
export async function bootstrapPrincipals(options: BootstrapOptions): Promise<void> {
  await bootstrapAdmin(options);
  for (const service of options.serviceSecrets) await bootstrapService(options, service);
  // Reads every principal, and nothing depends on it: vault opens meanwhile, and also without it.
  countPeppers(options).catch((error: unknown) => options.events.peppersNotCounted(error));
}

/** Who changes the pepper has to know when the next change refuses nobody, and hear of it when this one did. */
async function countPeppers({ upkeep, events, peppers }: BootstrapOptions): Promise<void> {
  const { version, oldest } = peppers;
  const counts = await upkeep.countPeppers();
  let previous = 0;
  let refused = 0;
  let acceptsAll = version;
  for (const [one, count] of counts) {
    if (one < oldest) {
      refused += count;
      acceptsAll = Math.min(acceptsAll, one + 1);
    } else if (one < version) previous += count;
  }
  events.peppersCounted({ version, previous, refused, acceptsAll });
}

async function bootstrapAdmin(options: BootstrapOptions): Promise<void> {
  const { principals, upkeep, crypto, events } = options;
  const key = { namespace: DEFAULT_NAMESPACE, principalId: ADMIN_ID };
  if ((await principals.find(key)) !== undefined) return;
  const password = options.adminPassword ?? crypto.newPassword();
  const passwordHash = await crypto.hashPassword(password);
  const admin = { ...key, kind: "user", scopes: ADMIN_SCOPES, passwordHash } as const;
  if (!(await upkeep.insertIfAbsent(admin))) return;
  events.adminCreated();
  if (options.adminPassword === undefined) events.adminPasswordGenerated(password);
}

async function bootstrapService(
  { upkeep, crypto, events }: BootstrapOptions,
  [name, secret]: readonly [name: string, secret: string],
): Promise<void> {
  const change = await upkeep.upsertService({
    namespace: SYSTEM_NAMESPACE,
    principalId: name,
    kind: "service",
    scopes: SERVICE_SCOPES[name] ?? [],
    secretDigest: crypto.digest("client-secret", secret),
  });
  events.serviceReady(name, change);
}
