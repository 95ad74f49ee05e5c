import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { WitnessService } from "@nexus/proto/insight";
import type { MethodImplementation } from "@nexus/rpc";
import type { PageTokens } from "./handler-deps.ts";

const PAGE_KIND = "witnessed-checkpoints";
const PAGE_SIZE_DEFAULT = 100;
const FIRST = [String(Number.MAX_SAFE_INTEGER), ""] as const;

/** What the witness has kept, for its handler. */
export interface WitnessedCheckpoints {
  list(
    origin: string,
    page: { readonly below: readonly [string, string]; readonly size: number },
  ): Promise<
    readonly {
      readonly origin: string;
      readonly size: number;
      readonly note: string;
      readonly seenAtMs: number;
    }[]
  >;
  refusal(origin: string): Promise<string>;
}

/** What the handler works with. */
export interface WitnessHandlerDeps {
  readonly witnessed: WitnessedCheckpoints;
  readonly witnessKey: string;
  readonly pageTokens: PageTokens;
}

/** Creates the handler of WitnessService.ListWitnessedCheckpoints. */
export function listWitnessedCheckpoints({
  witnessed,
  witnessKey,
  pageTokens,
}: WitnessHandlerDeps): MethodImplementation<
  typeof WitnessService.method.listWitnessedCheckpoints
> {
  return async ({ origin, page }) => {
    const asked = page?.pageSize ?? 0;
    const size = asked === 0 ? PAGE_SIZE_DEFAULT : asked;
    const token = page?.pageToken ?? "";
    const place = pageTokens.decode(PAGE_KIND, token, ["bigint", "text"]) ?? FIRST;
    const below = [String(place[0]), String(place[1])] as const;
    const found = await witnessed.list(origin, { below, size: size + 1 });
    const shown = found.slice(0, size);
    const last = found.length > size ? shown.at(-1) : undefined;
    return {
      checkpoints: shown.map(({ note, size: treeSize, seenAtMs }) => ({
        note,
        treeSize: BigInt(treeSize),
        seenTime: timestampFromMs(seenAtMs),
      })),
      page: {
        nextPageToken:
          last === undefined ? "" : pageTokens.encode(PAGE_KIND, [String(last.size), last.origin]),
      },
      witnessKey,
      refusal: await witnessed.refusal(origin),
    };
  };
}
