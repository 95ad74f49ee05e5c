/** Limits of the contract, in one place. A caller that goes over one gets a typed error, never growth. */
import { KiB, MiB } from "@nexus/shared";

/** Most tasks that one job may hold, those of its plan included. */
export const JOB_TASKS_MAX = 10_000;
/** Most labels of a job. */
export const JOB_LABELS_MAX = 64;
/** Longest chain of tasks in a job, counted in tasks. */
export const GRAPH_DEPTH_MAX = 64;
/** Most tasks that may depend on one task. */
export const GRAPH_FAN_OUT_MAX = 1_000;
/** Most elements of a list that a task is mapped over. */
export const MAP_ITEMS_MAX = 1_000;
/** Largest payload. */
export const PAYLOAD_MAX_BYTES = 256 * KiB;
/** Largest body that is stored apart. */
export const STORED_PAYLOAD_MAX_BYTES = 64 * MiB;
/** A stored body lies in parts of this size: one row, one round trip, and what an upload or a download holds in memory. */
export const PAYLOAD_PART_BYTES = 1 * MiB;
/** What the smallest stored body counts for in its namespace's quota: a row and its index entries are not free. */
export const PAYLOAD_QUOTA_BYTES_MIN = 64 * KiB;
/** Uploads, and downloads, that one replica serves at the same time: each holds one part in memory. */
export const PAYLOAD_STREAMS_MAX = 64;
/** Of these, for one namespace. */
export const PAYLOAD_STREAMS_NAMESPACE_MAX = 16;
/** How long an upload may bring nothing. */
export const UPLOAD_SILENCE_MAX_MS = 30_000;
/** How long an upload may take in all. */
export const UPLOAD_TIME_MAX_MS = 300_000;
/** Most bytes of upstream outputs handed to one task. */
export const UPSTREAM_MAX_BYTES = 2 * MiB;
/** Most bytes of upstream outputs that are stored apart, in all: an agent may hold them at once. */
export const STORED_UPSTREAM_MAX_BYTES = 256 * MiB;
/** Most bytes of results that GetJob returns. */
export const RESULTS_MAX_BYTES = 1 * MiB;
/** Largest planner input before the list of live capabilities is added to it. */
export const PLAN_REQUEST_MAX_BYTES = 224 * KiB;
/** Most bytes of live capabilities in a planner's input: with PLAN_REQUEST_MAX_BYTES it stays one payload. */
export const PLAN_CAPABILITIES_MAX_BYTES = 24 * KiB;
/** Most rejections stored with a routing decision. */
export const REJECTIONS_MAX = 32;
/** Most attempts that ExplainTask returns. */
export const EXPLAIN_ATTEMPTS_MAX = 100;
/** Most items in one list of a dispatch frame, and of one watch message. */
export const FRAME_ITEMS_MAX = 512;
/** Longest failure message kept; the contract allows an agent as much. */
export const FAILURE_MESSAGE_MAX_CHARS = 4_096;

/** The capability that marks a planner agent. */
export const PLAN_CAPABILITY = "nexus.plan";
/** The key of the task that asks a planner. A plan may not use it for a task of its own. */
export const PLAN_TASK_KEY = "nexus.plan";
