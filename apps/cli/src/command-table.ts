import type { CommandSpec } from "./command.ts";
import { agentsDiscoverCommand, agentsGetCommand, agentsListCommand } from "./commands/agents.ts";
import {
  alertsAcknowledgeCommand,
  alertsListCommand,
  alertsWatchCommand,
} from "./commands/alerts.ts";
import { auditExportCommand, auditListCommand, auditWatchCommand } from "./commands/audit.ts";
import { auditVerifyCommand } from "./commands/audit-verify.ts";
import { caBundleCommand, caInitCommand, caIssueCommand, caRotateCommand } from "./commands/ca.ts";
import { deadLettersListCommand, deadLettersRedriveCommand } from "./commands/dead-letters.ts";
import { jobsExplainCommand } from "./commands/explain.ts";
import {
  jobsPauseCommand,
  jobsReplayCommand,
  jobsResumeCommand,
  jobsRetryCommand,
} from "./commands/job-control.ts";
import {
  jobsCancelCommand,
  jobsGetCommand,
  jobsListCommand,
  jobsSubmitCommand,
  jobsWatchCommand,
} from "./commands/jobs.ts";
import {
  keysCreateCommand,
  keysDestroyCommand,
  keysDisableCommand,
  keysEnableCommand,
  keysGetCommand,
  keysListCommand,
  keysRotateCommand,
} from "./commands/keys.ts";
import { loginCommand, logoutCommand, whoamiCommand } from "./commands/login.ts";
import { meshRoutesCommand, meshSendCommand, meshTailCommand } from "./commands/mesh.ts";
import { meshDeadLettersCommand } from "./commands/mesh-dead-letters.ts";
import { payloadsDownloadCommand, payloadsUploadCommand } from "./commands/payloads.ts";
import {
  policiesCheckCommand,
  policiesDeleteCommand,
  policiesListCommand,
  policiesPutCommand,
} from "./commands/policies.ts";
import {
  principalsCreateCommand,
  principalsDisableCommand,
  principalsListCommand,
} from "./commands/principals.ts";
import {
  rolesAssignCommand,
  rolesDeleteCommand,
  rolesListCommand,
  rolesPutCommand,
} from "./commands/roles.ts";
import {
  secretsDeleteCommand,
  secretsDestroyCommand,
  secretsGetCommand,
  secretsListCommand,
  secretsPutCommand,
  secretsUndeleteCommand,
  secretsVersionsCommand,
} from "./commands/secrets.ts";
import {
  stateConflictsCommand,
  stateDeleteCommand,
  stateGetCommand,
  stateIncrementCommand,
  stateListCommand,
  statePutCommand,
  stateResolveCommand,
} from "./commands/state.ts";
import {
  stateBucketsCommand,
  stateCreateCommand,
  stateDropCommand,
} from "./commands/state-buckets.ts";
import { stateWatchCommand } from "./commands/state-watch.ts";
import { statusCommand } from "./commands/status.ts";
import { tasksGetCommand, tasksWatchCommand } from "./commands/tasks.ts";
import { tasksListCommand } from "./commands/tasks-list.ts";
import { tokensIntrospectCommand, tokensRevokeCommand } from "./commands/tokens.ts";
import {
  transitDecryptCommand,
  transitEncryptCommand,
  transitRewrapCommand,
  transitSignCommand,
  transitVerifyCommand,
} from "./commands/transit.ts";

/** Every command; the program, its help and its tests are made from this table. */
export const COMMANDS: readonly CommandSpec[] = [
  loginCommand,
  logoutCommand,
  whoamiCommand,
  statusCommand,
  jobsSubmitCommand,
  jobsGetCommand,
  jobsListCommand,
  jobsWatchCommand,
  jobsCancelCommand,
  jobsPauseCommand,
  jobsResumeCommand,
  jobsRetryCommand,
  jobsReplayCommand,
  jobsExplainCommand,
  tasksListCommand,
  tasksGetCommand,
  tasksWatchCommand,
  deadLettersListCommand,
  deadLettersRedriveCommand,
  agentsListCommand,
  agentsGetCommand,
  agentsDiscoverCommand,
  payloadsUploadCommand,
  payloadsDownloadCommand,
  meshRoutesCommand,
  meshSendCommand,
  meshTailCommand,
  meshDeadLettersCommand,
  stateCreateCommand,
  stateBucketsCommand,
  stateDropCommand,
  stateGetCommand,
  statePutCommand,
  stateDeleteCommand,
  stateIncrementCommand,
  stateListCommand,
  stateWatchCommand,
  stateConflictsCommand,
  stateResolveCommand,
  principalsCreateCommand,
  principalsListCommand,
  principalsDisableCommand,
  secretsPutCommand,
  secretsGetCommand,
  secretsListCommand,
  secretsVersionsCommand,
  secretsDeleteCommand,
  secretsUndeleteCommand,
  secretsDestroyCommand,
  keysCreateCommand,
  keysGetCommand,
  keysListCommand,
  keysRotateCommand,
  keysDisableCommand,
  keysEnableCommand,
  keysDestroyCommand,
  transitEncryptCommand,
  transitDecryptCommand,
  transitRewrapCommand,
  transitSignCommand,
  transitVerifyCommand,
  rolesListCommand,
  rolesPutCommand,
  rolesDeleteCommand,
  rolesAssignCommand,
  policiesListCommand,
  policiesPutCommand,
  policiesDeleteCommand,
  policiesCheckCommand,
  tokensRevokeCommand,
  tokensIntrospectCommand,
  caInitCommand,
  caRotateCommand,
  caBundleCommand,
  caIssueCommand,
  auditListCommand,
  auditWatchCommand,
  auditExportCommand,
  auditVerifyCommand,
  alertsListCommand,
  alertsWatchCommand,
  alertsAcknowledgeCommand,
];

/** What each noun is, for the help of its group. */
export const NOUNS: Readonly<Record<string, string>> = {
  jobs: "Submit jobs and follow them",
  tasks: "Find tasks, and see what they put out",
  "dead-letters": "See tasks that failed for good and run them again",
  agents: "See and find agents",
  payloads: "Store bodies that are too large for a message, and read them",
  mesh: "See routes, send messages, and deal with those that were given up",
  state: "Keep what agents share in buckets of keys",
  principals: "Administer users and agents",
  secrets: "Store and read values that only some may see",
  keys: "Administer the keys that transit uses",
  transit: "Encrypt and sign with keys that never leave vault",
  roles: "Give named sets of scopes",
  policies: "Allow and deny, on resources too",
  tokens: "Take tokens back, and ask about them",
  ca: "Administer the certificates of services",
  audit: "Read the audit log, and prove it",
  alerts: "See what is unusual in the audit log",
};
