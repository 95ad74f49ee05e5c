/** All campaigns. */
import type { Campaign, LoneCampaign, MeshCampaign } from "./_campaign.ts";
import { auditKill } from "./audit-kill.ts";
import { auditOutboxKill } from "./audit-outbox-kill.ts";
import { backendKill } from "./backend-kill.ts";
import { cancelAnyReplica } from "./cancel-any-replica.ts";
import { clockSkew } from "./clock-skew.ts";
import { conservation } from "./conservation.ts";
import { dagModel } from "./dag-model.ts";
import { halfOpen } from "./half-open.ts";
import { meshKills } from "./mesh-kills.ts";
import { oneSlot } from "./one-slot.ts";
import { ownerPaused } from "./owner-paused.ts";
import { postgresKill } from "./postgres-kill.ts";
import { setAppend } from "./set-append.ts";
import { slotLeak } from "./slot-leak.ts";
import { slowConsumer } from "./slow-consumer.ts";
import { statePartition } from "./state-partition.ts";
import { vaultKill } from "./vault-kill.ts";
import { zombieComplete } from "./zombie-complete.ts";

/** On three orchestrators and everything else, in the order in which the tests play them. */
export const CAMPAIGNS: readonly Campaign[] = [
  clockSkew,
  cancelAnyReplica,
  oneSlot,
  zombieComplete,
  ownerPaused,
  conservation,
  dagModel,
  slotLeak,
  backendKill,
  halfOpen,
  postgresKill,
  auditKill,
  auditOutboxKill,
  setAppend,
];

/** On a bed of their own. */
export const LONE_CAMPAIGNS: readonly LoneCampaign[] = [vaultKill];

/** On three replicas of the mesh-router and processes that are agents. */
export const MESH_CAMPAIGNS: readonly MeshCampaign[] = [slowConsumer, meshKills, statePartition];
