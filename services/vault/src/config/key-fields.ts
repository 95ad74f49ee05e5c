import { bytes, durationMs, int, secret, string } from "@nexus/core";
import { MiB } from "@nexus/shared";
import { AEAD_KEY_BYTES } from "../domain/aead.ts";

const BASE64_KEY = /^[A-Za-z0-9+/]{43}=$/;
const HOUR_MS = 3_600_000;
const KEY_EXAMPLE = "(32 random bytes in base64, e.g. from `openssl rand -base64 32`)";
const KMS_PATTERN = /^(?:unix:\/[^\s]+|(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5})$/;
const LOOPBACK_PATTERN = /^(?:unix:|localhost:|127\.\d{1,3}\.\d{1,3}\.\d{1,3}:|\[::1\])/;

/** Where the root key comes from, who else can restore the keys under it, and what is kept in memory. */
export const keyFields = {
  rootKey: secret({
    env: "NEXUS_VAULT_ROOT_KEY",
    optional: true,
    fromFile: false,
    example: KEY_EXAMPLE,
    about:
      "The root key, under which the keys of all tenants are. Set this, NEXUS_VAULT_ROOT_KEY_FILE or NEXUS_VAULT_KMS_ENDPOINT, the same for all replicas; with none of them vault starts sealed.",
  }),
  rootKeyPrevious: secret({
    env: "NEXUS_VAULT_ROOT_KEY_PREVIOUS",
    optional: true,
    fromFile: false,
    example: KEY_EXAMPLE,
    about:
      "The root key before, during a change of root keys: it opens, the new one wraps. Take it out when GetRootKeyStatus counts no stale tenant key.",
  }),
  rootKeyFile: string({
    env: "NEXUS_VAULT_ROOT_KEY_FILE",
    optional: true,
    example: "/run/secrets/nexus/root.key",
    about:
      "File with the root key in base64. Read at every unseal; refused when its mode is looser than 0600, but for a Secret that Kubernetes mounts for the pod's group.",
  }),
  rootKeyPreviousFile: string({
    env: "NEXUS_VAULT_ROOT_KEY_PREVIOUS_FILE",
    optional: true,
    example: "/run/secrets/nexus/root-previous.key",
    about: "As NEXUS_VAULT_ROOT_KEY_PREVIOUS, in a file.",
  }),
  kmsEndpoint: string({
    env: "NEXUS_VAULT_KMS_ENDPOINT",
    optional: true,
    pattern: KMS_PATTERN,
    example: "unix:/run/nexus/kms.sock",
    about:
      "A sidecar that serves `nexus.kms.v1.KmsService`, so that the root key never leaves a KMS: `unix:/path`, or `host:port`. Beyond loopback it is called over TLS, with the files of NEXUS_TLS_*.",
  }),
  recoveryPublicKey: secret({
    env: "NEXUS_VAULT_RECOVERY_PUBLIC_KEY",
    optional: true,
    example: "(32 bytes of an X25519 public key in base64)",
    about:
      "Every tenant key is wrapped for this key as well. Keep its private half offline: it restores everything when the root key is lost. Not set: losing the root key loses everything.",
  }),
  recoveryKeyFile: string({
    env: "NEXUS_VAULT_RECOVERY_KEY_FILE",
    optional: true,
    example: "/run/secrets/nexus/recovery.key",
    about:
      "In a restore only: file with the private recovery key in base64, modes as for the root key. Vault then opens tenant keys with it and wraps them under the configured root key; take it out afterwards.",
  }),
  keyEncryptionKey: secret({
    env: "NEXUS_VAULT_KEY_ENCRYPTION_KEY",
    optional: true,
    example: KEY_EXAMPLE,
    about:
      "What earlier versions sealed stored keys with. Needed for one start after an upgrade, which seals them under the root key; take it out afterwards.",
  }),
  streamMaxBytes: bytes({
    env: "NEXUS_VAULT_STREAM_MAX_BYTES",
    default: 1024 * MiB,
    min: MiB,
    max: 1024 * 1024 * MiB,
    about: "Longest body of TransitService.EncryptStream and DecryptStream.",
  }),
  keyCacheMax: int({
    env: "NEXUS_VAULT_KEY_CACHE_MAX",
    default: 10_000,
    min: 1,
    max: 1_000_000,
    about: "Opened keys held in memory: versions of named keys, and as many tenant keys.",
  }),
  keyCacheTtlMs: durationMs({
    env: "NEXUS_VAULT_KEY_CACHE_TTL_MS",
    default: 300_000,
    min: 1000,
    max: HOUR_MS,
    about: "How long an opened key stays in memory before it is overwritten and opened anew.",
  }),
};

/** The fields above, as far as their check looks at them. */
interface KeySettings {
  readonly rootKey: string | undefined;
  readonly rootKeyPrevious: string | undefined;
  readonly rootKeyFile: string | undefined;
  readonly rootKeyPreviousFile: string | undefined;
  readonly kmsEndpoint: string | undefined;
  readonly recoveryPublicKey: string | undefined;
  readonly keyEncryptionKey: string | undefined;
  readonly tlsMode: string;
}

/** What is wrong with the keys of a configuration; a problem never repeats a value. */
export function keyProblems(
  config: KeySettings,
): readonly { readonly field: keyof KeySettings; readonly problem: string }[] {
  return [...formProblems(config), ...choiceProblems(config)];
}

/** Says whether a KMS can be reached without leaving this machine. */
export function isLocalKms(endpoint: string): boolean {
  return LOOPBACK_PATTERN.test(endpoint);
}

const KEYS = ["rootKey", "rootKeyPrevious", "recoveryPublicKey", "keyEncryptionKey"] as const;

function formProblems(config: KeySettings) {
  const wrong = KEYS.filter((field) => {
    const text = config[field];
    return text !== undefined && !BASE64_KEY.test(text);
  });
  return wrong.map((field) => ({ field, problem: `must be ${AEAD_KEY_BYTES} bytes in base64` }));
}

function choiceProblems(config: KeySettings) {
  const { rootKey, rootKeyFile, kmsEndpoint, rootKeyPrevious, rootKeyPreviousFile } = config;
  const problems: { field: keyof KeySettings; problem: string }[] = [];
  const ways = [rootKey, rootKeyFile, kmsEndpoint].filter((way) => way !== undefined);
  if (ways.length > 1) {
    const problem =
      "is one of NEXUS_VAULT_ROOT_KEY, NEXUS_VAULT_ROOT_KEY_FILE and NEXUS_VAULT_KMS_ENDPOINT; keep one";
    problems.push({ field: kmsEndpoint === undefined ? "rootKeyFile" : "kmsEndpoint", problem });
  }
  if (rootKeyPrevious !== undefined && rootKey === undefined) {
    problems.push({ field: "rootKeyPrevious", problem: "needs NEXUS_VAULT_ROOT_KEY beside it" });
  }
  if (rootKeyPreviousFile !== undefined && rootKeyFile === undefined) {
    const problem = "needs NEXUS_VAULT_ROOT_KEY_FILE beside it";
    problems.push({ field: "rootKeyPreviousFile", problem });
  }
  if (kmsEndpoint !== undefined && !isLocalKms(kmsEndpoint) && config.tlsMode === "off") {
    const problem = "is not on this machine, so set NEXUS_TLS_MODE and its files";
    problems.push({ field: "kmsEndpoint", problem });
  }
  return problems;
}
