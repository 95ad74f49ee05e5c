/** Notes what a planner said of its plan. */
import type { Queryable } from "@nexus/postgres";
import { jobUuid } from "./row-ids.ts";

const SET_SUMMARY = {
  name: "plan-set-summary",
  text: "UPDATE jobs SET plan_summary = $2 WHERE job_id = $1",
};

/** Stores the summary of an admitted plan. */
export async function setPlan(client: Queryable, jobId: string, summary: string): Promise<void> {
  await client.query(SET_SUMMARY, [jobUuid(jobId), summary]);
}
