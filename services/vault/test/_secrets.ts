/** What tests of secrets share. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PutSecretRequestSchema, SecretVersion } from "@nexus/proto/vault";
import { type Replica, requestId, type Session } from "./_helpers.ts";

type PutInit = Pick<
  Exclude<MessageInitShape<typeof PutSecretRequestSchema>, { readonly $typeName: string }>,
  "expectedVersion" | "ttl" | "requestId" | "taskRequired"
>;

let counter = 0;

/** A path that no other test of the file uses. */
export function freshPath(folder = "app"): string {
  return `${folder}/secret-${++counter}`;
}

/** Puts a text; answers with the new version. */
export async function put(
  { secrets }: Replica,
  caller: Session,
  path: string,
  init: PutInit & { readonly text?: string } = {},
): Promise<SecretVersion> {
  const { text = "a secret", ...rest } = init;
  const value = Buffer.from(text);
  const { version } = await secrets.putSecret(
    { requestId: requestId(), path, value, ...rest },
    caller,
  );
  if (version === undefined) throw new Error("no version was returned");
  return version;
}

/** Reads a text; the newest version unless one is named. */
export async function read(
  { secrets }: Replica,
  caller: Session,
  path: string,
  version = 0,
): Promise<string> {
  const { value } = await secrets.getSecret({ path, version }, caller);
  return Buffer.from(value).toString();
}
