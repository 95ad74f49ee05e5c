/** What replicas say of mail that they had in hand. */
import { int2Array, int8Array, type Queryable, textArray, together } from "@nexus/postgres";
import type { MailBatch } from "../domain/mail/mail-ports.ts";
import { BURY_MAIL, DELETE_MAIL, NOTE_FAILURES } from "./mail-sql.ts";

const NUL = /\0/g;

/** Writes the words of a batch, inside a transaction, in the name of a replica. Returns the mailboxes of messages that were to be given
 * up and are not: somebody else's, or gone. */
export async function applyWords(
  client: Queryable,
  batch: MailBatch,
  routerId: string,
): Promise<ReadonlySet<bigint>> {
  const { done, deaths } = batch;
  // Who may not give a message up counts all the same, and whoever has it now gives it up.
  const usedUp = deaths.filter(({ reason }) => reason === "ATTEMPTS");
  const failures = [...batch.failures, ...usedUp.map((death) => ({ ...death, delayMs: 0 }))];
  const [, , buried] = await together(
    done.length === 0 ? nothing : client.query(DELETE_MAIL, refs(done)),
    failures.length === 0
      ? nothing
      : client.query(NOTE_FAILURES, [
          ...refs(failures),
          int2Array(failures.map((failure) => failure.failures)),
          int8Array(failures.map(({ delayMs }) => Math.round(delayMs))),
          int8Array(failures.map(({ epoch }) => epoch)),
          routerId,
        ]),
    deaths.length === 0
      ? nothing
      : client.query<{ seq: string }>(BURY_MAIL, [
          ...refs(deaths),
          int2Array(deaths.map((death) => death.failures)),
          textArray(deaths.map(({ reason }) => reason)),
          textArray(deaths.map(({ text }) => text.replace(NUL, ""))),
          int8Array(deaths.map(({ epoch }) => epoch)),
          routerId,
        ]),
  );
  const taken = new Set(buried?.rows.map(({ seq }) => BigInt(seq)));
  return new Set(deaths.filter(({ seq }) => !taken.has(seq)).map(({ mailboxId }) => mailboxId));
}

const nothing: Promise<undefined> = Promise.resolve(undefined);

function refs(rows: readonly { readonly mailboxId: bigint; readonly seq: bigint }[]): Buffer[] {
  return [int8Array(rows.map(({ mailboxId }) => mailboxId)), int8Array(rows.map(({ seq }) => seq))];
}
