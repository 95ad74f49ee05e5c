/** Durable messages as they are stored. */
import type { Verdict } from "../message/letter.ts";
import type { Post } from "../message/message.ts";
import type { StoredMail } from "./mail.ts";
import type { MailboxRecord } from "./mail-book.ts";
import type { MailInsert } from "./mail-ports.ts";

/** A message and the mailboxes that it goes to. */
export interface Addressed {
  readonly post: Post;
  records: MailboxRecord[];
}

/** What is stored of a message. */
export function toInsert({ post, records }: Addressed): MailInsert {
  const { key, bodyHash: hash, envelope, terms } = post;
  const sender = post.sender.principalId;
  const mailboxIds = records.map(({ mailboxId }) => mailboxId);
  return { mailboxIds, sender, key, bodyHash: hash, envelope, ...terms };
}

/** What its sender learns. */
export function queued(post: Post, records: readonly MailboxRecord[]): Verdict {
  const base = { outcome: "queued", text: "" } as const;
  if (!post.many) return { ...base, position: records[0]?.depth ?? 0 };
  const missed = post.toAgentIds.length - records.length;
  return { ...base, receivers: records.length, missed };
}

/** The row of a message that was just stored. */
export function toRow(post: Post, record: MailboxRecord, seq: bigint, nowMs: number): StoredMail {
  return {
    mailboxId: record.mailboxId,
    seq,
    sender: post.sender.principalId,
    envelope: post.envelope,
    expiresAtMs: nowMs + post.terms.ttlMs,
    ackWaitMs: post.terms.ackWaitMs,
    failures: 0,
    dueAtMs: 0,
  };
}
