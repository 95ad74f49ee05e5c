/** What others do with the same load on the same machine, in the same run, while NEXUS has nothing to do. */
import process from "node:process";
import type { Bed } from "../bed/bed.ts";
import { withOwnDatabase } from "../bed/database.ts";
import { type AppendFsync, openRedis, whyNoRedis } from "../bed/redis.ts";
import type { Figure, FigureKey } from "../figure.ts";
import { measurePeer, type PeerRate } from "../peers/measure-peer.ts";
import { BULK_JOBS, type PeerPlace } from "../peers/peer-commands.ts";
import { BULLMQ_CONCURRENCY, GRAPHILE, GRAPHILE_BATCHING } from "../peers/peer-settings.ts";
import { formatCount } from "../report.ts";
import { SATURATION_STRETCH, saturationLoad } from "./saturation.ts";
import { type Step, seconds, stretchOf } from "./scenario.ts";

/** Every peer, each with its settings. */
export const PEER_STEPS: readonly Step[] = [
  (bed) => measureBullmq(bed, "everysec", "bullmq_tasks_per_second"),
  (bed) => measureBullmq(bed, "always", "bullmq_always_tasks_per_second"),
  (bed) => measureGraphile(bed, false, "graphile_tasks_per_second"),
  (bed) => measureGraphile(bed, true, "graphile_local_queue_tasks_per_second"),
];

async function measureBullmq(bed: Bed, fsync: AppendFsync, key: FigureKey): Promise<Figure[]> {
  const missing = whyNoRedis(fsync);
  if (missing !== undefined) {
    bed.progress(`peer BullMQ, fsync ${fsync}: not measured: ${missing}`);
    return [{ key, value: null, load: `not measured: ${missing}` }];
  }
  const redis = await openRedis(bed.info.dataDir, fsync);
  try {
    const place = { url: redis.url, queue: `nexus-bench-${process.pid}`, batched: false };
    const rate = await measure(bed, "bullmq", place);
    const how = `concurrency ${BULLMQ_CONCURRENCY}, completed jobs removed; ${redis.about}`;
    return [{ key, value: rate.perSecond, load: `${describeLoad(bed, rate)}, ${how}` }];
  } finally {
    await redis.stop();
  }
}

async function measureGraphile(bed: Bed, batched: boolean, key: FigureKey): Promise<Figure[]> {
  const database = batched ? "bench_graphile_local_queue" : "bench_graphile";
  const rate = await withOwnDatabase(bed.postgresUrl, database, (url) =>
    measure(bed, "graphile", { url, queue: "nothing", batched }),
  );
  const batches = `local queue of ${GRAPHILE_BATCHING.localQueue.size} and batched completion`;
  const how = `${GRAPHILE.concurrentJobs} at once, ${batched ? batches : "no local queue"}; our Postgres server`;
  return [{ key, value: rate.perSecond, load: `${describeLoad(bed, rate)}, ${how}` }];
}

async function measure(bed: Bed, program: string, place: PeerPlace): Promise<PeerRate> {
  await bed.settle();
  bed.progress(`peer ${program}${place.batched ? ", in batches" : ""}`);
  const { profileDir } = bed;
  const stretch = stretchOf(bed, SATURATION_STRETCH);
  return measurePeer({ program, place, backlog: backlogOf(bed), profileDir, ...stretch });
}

/** As many jobs as our own client keeps under way. */
function backlogOf(bed: Bed): number {
  const { jobsInFlight, jobTasks } = saturationLoad(bed);
  return Math.max(jobsInFlight * jobTasks, 2 * BULK_JOBS);
}

function describeLoad(bed: Bed, { tookMs }: PeerRate): string {
  const backlog = formatCount(backlogOf(bed));
  return `always up to ${backlog} jobs waiting, added ${BULK_JOBS} at a time, ${seconds(tookMs)}; one worker process`;
}
