import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  CreateBucketResponseSchema,
  DeleteBucketResponseSchema,
  ListBucketsResponseSchema,
  StatePolicy,
} from "@nexus/proto/mesh";
import type { CommandSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showDuration, showEnum, showTime, writeJson, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { parseCount, parseLimit } from "./numbers.ts";
import { readPages } from "./pages.ts";
import { parseSpan } from "./times.ts";

/** Less holds no entry. */
const BYTES_MIN = 1_024;

const POLICIES: Readonly<Record<string, StatePolicy | undefined>> = {
  lww: StatePolicy.LWW,
  vector: StatePolicy.VECTOR,
  cas: StatePolicy.CAS,
  counter: StatePolicy.COUNTER,
};

/** Makes a bucket. */
export const stateCreateCommand: CommandSpec = {
  usage: "state create <bucket>",
  about: "Make a bucket; what it does with concurrent writes never changes",
  example: "nexus state create plans --policy vector --ttl 30d",
  flags: [
    { flags: "--policy <policy>", about: "lww, vector, cas or counter", default: "lww" },
    { flags: "--keys <n>", about: "how many keys it may have; 10000 if not said" },
    {
      flags: "--bytes <n>",
      about: "how many bytes it may hold, 1024 at least; 64 MiB if not said",
    },
    { flags: "--ttl <time>", about: "how long keys live whose writer does not say, e.g. 12h" },
  ],
  run: async (ctx, args) => {
    const policy = POLICIES[args.text("policy") ?? "lww"];
    if (policy === undefined) throw usageError("--policy is one of lww, vector, cas, counter.");
    const defaultTtl = parseSpan("ttl", args.text("ttl"));
    const response = await ctx.client().state.createBucket({
      requestId: randomUUID(),
      bucket: args.at(0),
      policy,
      quota: {
        keysMax: BigInt(parseCount("keys", args.text("keys"), 1) ?? 0),
        bytesMax: BigInt(parseCount("bytes", args.text("bytes"), BYTES_MIN) ?? 0),
      },
      ...(defaultTtl === undefined ? {} : { defaultTtl }),
    });
    if (ctx.format === "json") writeJson(ctx, CreateBucketResponseSchema, response);
    else if (ctx.format === "name") writeLine(ctx, args.at(0));
    else writeLine(ctx, `Made the bucket ${args.at(0)}.`);
    return EXIT.ok;
  },
};

/** Lists buckets. */
export const stateBucketsCommand: CommandSpec = {
  usage: "state buckets",
  about: "List buckets, and how full they are",
  example: "nexus state buckets",
  flags: [{ flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "100" }],
  run: async (ctx, args) => {
    const limit = parseLimit(args.text("limit"));
    const { items, page } = await readPages(limit, async (wanted) => {
      const found = await ctx.client().state.listBuckets({ page: wanted });
      return { items: found.buckets, page: found.page };
    });
    if (ctx.format === "json") {
      const response = create(ListBucketsResponseSchema, { buckets: items });
      if (page !== undefined) response.page = page;
      writeJson(ctx, ListBucketsResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { name } of items) writeLine(ctx, name);
    } else {
      const rows = items.map((bucket) => [
        bucket.name,
        showEnum(StatePolicy, bucket.policy),
        bucket.revision.toString(),
        `${bucket.keys}/${bucket.quota?.keysMax}`,
        `${bucket.bytes}/${bucket.quota?.bytesMax}`,
        showDuration(bucket.defaultTtl),
        showTime(bucket.createTime),
      ]);
      writeTable(ctx, ["bucket", "policy", "revision", "keys", "bytes", "ttl", "made"], rows);
    }
    return EXIT.ok;
  },
};

/** Deletes a bucket. */
export const stateDropCommand: CommandSpec = {
  usage: "state drop <bucket>",
  about: "Delete a bucket with all its keys",
  example: "nexus state drop plans",
  run: async (ctx, args) => {
    const request = { requestId: randomUUID(), bucket: args.at(0) };
    const response = await ctx.client().state.deleteBucket(request);
    if (ctx.format === "json") writeJson(ctx, DeleteBucketResponseSchema, response);
    else if (ctx.format === "table") {
      writeLine(ctx, response.deleted ? `Deleted ${args.at(0)}.` : `There is no ${args.at(0)}.`);
    }
    return EXIT.ok;
  },
};
