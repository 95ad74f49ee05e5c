/** Every command; the program, its help and its tests are made from this table. Each noun loads its commands when somebody
 * names it: what they show and send is every contract of NEXUS, which takes several times as long to load as the rest. */
import type { CommandSpec } from "./command.ts";
import { loginCommand, logoutCommand, whoamiCommand } from "./commands/login.ts";
import { passwdCommand } from "./commands/passwd.ts";
import { statusCommand } from "./commands/status.ts";

/** What commands are about, and those commands. */
export interface Noun {
  /** For the help of its group. */
  readonly about: string;
  load(): Promise<readonly CommandSpec[]>;
}

/** The commands without a noun. They load what they need as they run. */
export const COMMANDS: readonly CommandSpec[] = [
  loginCommand,
  logoutCommand,
  whoamiCommand,
  passwdCommand,
  statusCommand,
];

/** The nouns by the word that names them, in the order of the help. */
export const NOUNS: Readonly<Record<string, Noun>> = {
  jobs: {
    about: "Submit jobs and follow them",
    load: async () => {
      const jobs = await import("./commands/jobs.ts");
      const control = await import("./commands/job-control.ts");
      const { jobsExplainCommand } = await import("./commands/explain.ts");
      return [
        jobs.jobsSubmitCommand,
        jobs.jobsGetCommand,
        jobs.jobsListCommand,
        jobs.jobsWatchCommand,
        jobs.jobsCancelCommand,
        control.jobsPauseCommand,
        control.jobsResumeCommand,
        control.jobsRetryCommand,
        control.jobsReplayCommand,
        jobsExplainCommand,
      ];
    },
  },
  tasks: {
    about: "Find tasks, and see what they put out",
    load: async () => {
      const { tasksListCommand } = await import("./commands/tasks-list.ts");
      const tasks = await import("./commands/tasks.ts");
      return [tasksListCommand, tasks.tasksGetCommand, tasks.tasksWatchCommand];
    },
  },
  "dead-letters": {
    about: "See tasks that failed for good and run them again",
    load: async () => {
      const letters = await import("./commands/dead-letters.ts");
      return [letters.deadLettersListCommand, letters.deadLettersRedriveCommand];
    },
  },
  agents: {
    about: "See and find agents",
    load: async () => {
      const agents = await import("./commands/agents.ts");
      return [
        agents.agentsListCommand,
        agents.agentsGetCommand,
        agents.agentsDiscoverCommand,
        agents.agentsRemoveCommand,
      ];
    },
  },
  performance: {
    about: "See how agents, capabilities and jobs do",
    load: async () => {
      const performance = await import("./commands/performance.ts");
      return [
        performance.performanceAgentsCommand,
        performance.performanceCapabilitiesCommand,
        performance.performanceJobCommand,
      ];
    },
  },
  payloads: {
    about: "Store bodies that are too large for a message, and read them",
    load: async () => {
      const payloads = await import("./commands/payloads.ts");
      return [payloads.payloadsUploadCommand, payloads.payloadsDownloadCommand];
    },
  },
  mesh: {
    about: "See routes, send messages, and deal with those that were given up",
    load: async () => {
      const mesh = await import("./commands/mesh.ts");
      const { meshDeadLettersCommand } = await import("./commands/mesh-dead-letters.ts");
      return [
        mesh.meshRoutesCommand,
        mesh.meshSendCommand,
        mesh.meshCallCommand,
        mesh.meshTailCommand,
        meshDeadLettersCommand,
      ];
    },
  },
  state: {
    about: "Keep what agents share in buckets of keys",
    load: async () => {
      const buckets = await import("./commands/state-buckets.ts");
      const state = await import("./commands/state.ts");
      const { stateWatchCommand } = await import("./commands/state-watch.ts");
      return [
        buckets.stateCreateCommand,
        buckets.stateBucketsCommand,
        buckets.stateDropCommand,
        state.stateGetCommand,
        state.statePutCommand,
        state.stateDeleteCommand,
        state.stateIncrementCommand,
        state.stateListCommand,
        stateWatchCommand,
        state.stateConflictsCommand,
        state.stateResolveCommand,
      ];
    },
  },
  principals: {
    about: "Administer users and agents",
    load: async () => {
      const principals = await import("./commands/principals.ts");
      const changes = await import("./commands/principal-changes.ts");
      return [
        principals.principalsCreateCommand,
        principals.principalsListCommand,
        principals.principalsRotateSecretCommand,
        principals.principalsDisableCommand,
        changes.principalsEnableCommand,
        changes.principalsUnlockCommand,
        changes.principalsPasswordCommand,
        changes.principalsScopesCommand,
      ];
    },
  },
  secrets: {
    about: "Store and read values that only some may see",
    load: async () => {
      const secrets = await import("./commands/secrets.ts");
      const { secretsSettingsCommand } = await import("./commands/secret-settings.ts");
      return [
        secrets.secretsPutCommand,
        secrets.secretsGetCommand,
        secrets.secretsListCommand,
        secretsSettingsCommand,
        secrets.secretsVersionsCommand,
        secrets.secretsDeleteCommand,
        secrets.secretsUndeleteCommand,
        secrets.secretsDestroyCommand,
      ];
    },
  },
  keys: {
    about: "Administer the keys that transit uses",
    load: async () => {
      const keys = await import("./commands/keys.ts");
      return [
        keys.keysCreateCommand,
        keys.keysGetCommand,
        keys.keysListCommand,
        keys.keysRotateCommand,
        keys.keysDisableCommand,
        keys.keysEnableCommand,
        keys.keysDestroyCommand,
      ];
    },
  },
  transit: {
    about: "Encrypt and sign with keys that never leave vault",
    load: async () => {
      const transit = await import("./commands/transit.ts");
      return [
        transit.transitEncryptCommand,
        transit.transitDecryptCommand,
        transit.transitRewrapCommand,
        transit.transitSignCommand,
        transit.transitVerifyCommand,
      ];
    },
  },
  roles: {
    about: "Give named sets of scopes",
    load: async () => {
      const roles = await import("./commands/roles.ts");
      return [
        roles.rolesListCommand,
        roles.rolesPutCommand,
        roles.rolesDeleteCommand,
        roles.rolesAssignCommand,
      ];
    },
  },
  policies: {
    about: "Allow and deny, on resources too",
    load: async () => {
      const policies = await import("./commands/policies.ts");
      return [
        policies.policiesListCommand,
        policies.policiesPutCommand,
        policies.policiesDeleteCommand,
        policies.policiesCheckCommand,
      ];
    },
  },
  tokens: {
    about: "Take tokens back, and ask about them",
    load: async () => {
      const tokens = await import("./commands/tokens.ts");
      return [tokens.tokensRevokeCommand, tokens.tokensIntrospectCommand];
    },
  },
  ca: {
    about: "Administer the certificates of services",
    load: async () => {
      const ca = await import("./commands/ca.ts");
      return [ca.caInitCommand, ca.caRotateCommand, ca.caBundleCommand, ca.caIssueCommand];
    },
  },
  audit: {
    about: "Read the audit log, and prove it",
    load: async () => {
      const audit = await import("./commands/audit.ts");
      const { auditVerifyCommand } = await import("./commands/audit-verify.ts");
      return [
        audit.auditListCommand,
        audit.auditWatchCommand,
        audit.auditExportCommand,
        auditVerifyCommand,
      ];
    },
  },
  vault: {
    about: "Seal vault and open it, at its operator socket",
    load: async () => {
      const vault = await import("./commands/vault.ts");
      return [vault.vaultStatusCommand, vault.vaultSealCommand, vault.vaultUnsealCommand];
    },
  },
  alerts: {
    about: "See what is unusual in the audit log",
    load: async () => {
      const alerts = await import("./commands/alerts.ts");
      return [alerts.alertsListCommand, alerts.alertsWatchCommand, alerts.alertsAcknowledgeCommand];
    },
  },
};

/** Another word for a noun: `nexus job get` should not fail for want of an s. */
export function singularOf(noun: string): string {
  return noun.replace(/ies$/, "y").replace(/s$/, "");
}

/** The commands of the nouns that a command line names. A word may only look like a noun: its commands are there for nothing then. */
export async function loadNamed(argv: readonly string[]): Promise<readonly CommandSpec[]> {
  const named = Object.entries(NOUNS).filter(
    ([noun]) => argv.includes(noun) || argv.includes(singularOf(noun)),
  );
  const loaded = await Promise.all(named.map(([, noun]) => noun.load()));
  return loaded.flat();
}
