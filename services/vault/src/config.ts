import {
  type ConfigOf,
  type CrossFieldProblem,
  defineConfig,
  durationMs,
  int,
  list,
  secret,
  serviceFields,
  string,
} from "@nexus/core";
import { keyFields, keyProblems } from "./config/key-fields.ts";
import { parseServiceHosts } from "./domain/authority.ts";
import { PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN } from "./domain/password-changes.ts";
import {
  PASSWORD_ITERATIONS_DEFAULT,
  PASSWORD_ITERATIONS_MIN,
  PEPPER_VERSION_MAX,
} from "./domain/password-hash.ts";
import { parseServiceSecrets } from "./domain/service-secrets.ts";
import { KEY_SPREAD_MS } from "./domain/signing-key.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const fields = {
  ...serviceFields("vault", { grpcPort: 7404, opsPort: 9404 }),
  ...keyFields,
  bootstrapAdminPassword: secret({
    env: "NEXUS_BOOTSTRAP_ADMIN_PASSWORD",
    optional: true,
    min: PASSWORD_BYTES_MIN,
    about:
      "Password of `admin` when it is created at the first start. Not set: one is made and printed once to the log.",
  }),
  bootstrapServiceSecrets: secret({
    env: "NEXUS_VAULT_BOOTSTRAP_SERVICE_SECRETS",
    optional: true,
    example: "registry=...,orchestrator=...",
    about:
      "Client secrets of the services as `name=secret,...`; a changed one replaces the stored one at start.",
  }),
  orchestratorAddress: string({
    env: "NEXUS_VAULT_ORCHESTRATOR_ADDRESS",
    default: "127.0.0.1:7402",
    example: "dns:///orchestrator:7402",
    about:
      "Where the orchestrator is; it is asked whether an agent holds the task in whose name it reads a secret. Not needed at the start.",
  }),
  accessTokenTtlMs: durationMs({
    env: "NEXUS_VAULT_ACCESS_TOKEN_TTL_MS",
    default: HOUR_MS,
    min: 1000,
    max: DAY_MS,
    about: "Life of an access token.",
  }),
  refreshTokenTtlMs: durationMs({
    env: "NEXUS_VAULT_REFRESH_TOKEN_TTL_MS",
    default: 14 * DAY_MS,
    min: 1000,
    max: 366 * DAY_MS,
    about: "Life of a refresh token; each refresh starts it anew.",
  }),
  refreshGraceMs: durationMs({
    env: "NEXUS_VAULT_REFRESH_GRACE_MS",
    default: 30_000,
    min: 0,
    max: 300_000,
    about:
      "How long a spent refresh token answers again with the one that followed it, while that is unused. 0: never.",
  }),
  lockoutFailures: int({
    env: "NEXUS_VAULT_LOCKOUT_FAILURES",
    default: 5,
    min: 1,
    max: 100,
    about:
      "Failed logins under one name, existing or not, from one address, until that is locked out of it.",
  }),
  lockoutNameFailures: int({
    env: "NEXUS_VAULT_LOCKOUT_NAME_FAILURES",
    default: 100,
    min: 1,
    max: 10_000,
    about:
      "Failed logins under one name in a day, from all addresses together, until it is locked.",
  }),
  lockoutMs: durationMs({
    env: "NEXUS_VAULT_LOCKOUT_MS",
    default: HOUR_MS / 4,
    min: 100,
    max: DAY_MS,
    about: "How long the first lock lasts; each failure after it doubles the next.",
  }),
  lockoutMaxMs: durationMs({
    env: "NEXUS_VAULT_LOCKOUT_MAX_MS",
    default: HOUR_MS,
    min: 100,
    max: DAY_MS,
    about: "The longest lock: nobody is kept out for good.",
  }),
  keyRotationAgeMs: durationMs({
    env: "NEXUS_VAULT_KEY_ROTATION_AGE_MS",
    default: 30 * DAY_MS,
    min: 1000,
    max: 366 * DAY_MS,
    about: "A signing key signs for at most this long, then the next one takes over.",
  }),
  keyOverlapMs: durationMs({
    env: "NEXUS_VAULT_KEY_OVERLAP_MS",
    default: 600_000,
    min: 0,
    max: DAY_MS,
    about: "A signing key is published for at least this long before it signs.",
  }),
  jwksMaxAgeMs: durationMs({
    env: "NEXUS_VAULT_JWKS_MAX_AGE_MS",
    default: 300_000,
    min: 1000,
    max: DAY_MS,
    about: "How long a verifier may keep the key set before it asks again.",
  }),
  passwordIterations: int({
    env: "NEXUS_VAULT_PASSWORD_ITERATIONS",
    default: PASSWORD_ITERATIONS_DEFAULT,
    min: PASSWORD_ITERATIONS_MIN,
    max: 10_000_000,
    about:
      "PBKDF2-HMAC-SHA256 iterations of new password hashes; those with fewer follow at their next login. Those with more stay as they are, so lowering it lets the time of a refusal tell who has one.",
  }),
  passwordPepperVersion: int({
    env: "NEXUS_VAULT_PASSWORD_PEPPER_VERSION",
    default: 1,
    min: 1,
    max: PEPPER_VERSION_MAX,
    about:
      "The pepper that goes into new password hashes; vault makes and keeps the keys. Raise it by one to change the pepper: hashes of the version before, and those of before there were peppers, still check and follow at their next login, older ones are refused until it is lowered again. A start that would skip a version is refused.",
  }),
  auditOrigin: string({
    env: "NEXUS_VAULT_AUDIT_ORIGIN",
    default: "nexus/audit-log",
    pattern: /^[^\s+]{1,128}$/u,
    about:
      "Name of the audit log in its checkpoints and key, without spaces or `+`: another one for each deployment. Never change it.",
  }),
  loginConcurrency: int({
    env: "NEXUS_VAULT_LOGIN_CONCURRENCY",
    default: 2,
    min: 1,
    max: 3,
    about: "Password hashes at once. The thread pool has four threads, and signing needs one.",
  }),
  loginQueueMax: int({
    env: "NEXUS_VAULT_LOGIN_QUEUE_MAX",
    default: 32,
    max: 1000,
    about:
      "Logins that may wait for a hash; beyond it the answer is RESOURCE_EXHAUSTED, LOGIN_BUSY.",
  }),
  operatorSocket: string({
    env: "NEXUS_VAULT_OPERATOR_SOCKET",
    optional: true,
    // The system's limit is of bytes, so each is a character.
    pattern: /^\/[ -~]{1,99}$/,
    example: "/run/nexus/vault/operator.sock",
    about:
      "Unix socket at which vault can be sealed and opened without TLS and without a token, one for each replica. Only its user may enter its folder, which is made with mode 0700. With NEXUS_TLS_ISSUER=vault it is the way back after a seal that outlasts the certificate.",
  }),
  certificateTtlMs: durationMs({
    env: "NEXUS_VAULT_CERTIFICATE_TTL_MS",
    default: HOUR_MS,
    min: 1000,
    max: 90 * DAY_MS,
    about:
      "Life of the certificates that vault issues to services. After making it shorter, wait for the old life before a rotation of the authority.",
  }),
  certificateHosts: list({
    env: "NEXUS_VAULT_CERTIFICATE_HOSTS",
    default: ["gateway=localhost", "gateway=127.0.0.1"],
    example: "gateway=nexus.example.com,gateway=10.0.0.7",
    about:
      "Hosts, as `service=host`, for which services get certificates besides: those that users dial. Between services hosts do not matter.",
  }),
  caRotationAgeMs: durationMs({
    env: "NEXUS_VAULT_CA_ROTATION_AGE_MS",
    default: 365 * DAY_MS,
    min: 1000,
    max: 1000 * DAY_MS,
    about: "The authority that signs certificates is replaced at this age.",
  }),
};

/** The settings of vault. */
export const vaultSchema = defineConfig({ service: "vault", fields, check });

/** The configuration of vault. */
export type VaultConfig = ConfigOf<typeof vaultSchema>;

type Values = ConfigOf<{ fields: typeof fields }>;

function check(config: Values): readonly CrossFieldProblem<typeof fields>[] {
  const problems: CrossFieldProblem<typeof fields>[] = [...keyProblems(config)];
  if (Buffer.byteLength(config.bootstrapAdminPassword ?? "") > PASSWORD_BYTES_MAX) {
    const problem = `must have at most ${PASSWORD_BYTES_MAX} bytes`;
    problems.push({ field: "bootstrapAdminPassword", problem });
  }
  const secrets = parseServiceSecrets(config.bootstrapServiceSecrets ?? "");
  if ("problem" in secrets) {
    problems.push({ field: "bootstrapServiceSecrets", problem: secrets.problem });
  }
  if (config.keyOverlapMs < config.jwksMaxAgeMs + KEY_SPREAD_MS) {
    const problem = `must be at least NEXUS_VAULT_JWKS_MAX_AGE_MS and ${KEY_SPREAD_MS} ms, or verifiers meet keys they lack`;
    problems.push({ field: "keyOverlapMs", problem });
  }
  const hosts = parseServiceHosts(config.certificateHosts);
  if ("problem" in hosts) problems.push({ field: "certificateHosts", problem: hosts.problem });
  return problems;
}
