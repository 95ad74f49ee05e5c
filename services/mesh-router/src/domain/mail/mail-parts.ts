/** The parts of mail and how they hang together. */
import type { Clock } from "@nexus/shared";
import type { MessageEvents } from "../ports.ts";
import { MailBook } from "./mail-book.ts";
import { MailDesk } from "./mail-desk.ts";
import { MailJournal } from "./mail-journal.ts";
import { MailOffice } from "./mail-office.ts";
import type { EncodeEnvelope, MailEvents, MailStore } from "./mail-ports.ts";

/** What mail is made from. */
export interface MailInit {
  readonly store: MailStore;
  readonly events: MailEvents & MessageEvents;
  readonly clock: Clock;
  /** Unique per start of the replica: begins every delivery id. */
  readonly idPrefix: string;
  readonly mailboxMax: number;
  readonly attemptsMax: number;
  readonly redeliveryInitialMs: number;
  readonly encodeEnvelope: EncodeEnvelope;
  readonly isKnown: (namespace: string, agentId: string) => boolean;
  /** Something is to be written or read; soon: it can wait for company. */
  readonly wake: (when: "now" | "soon") => void;
}

/** What the rest of the router works with. */
export interface MailParts {
  readonly book: MailBook;
  readonly desk: MailDesk;
  readonly office: MailOffice;
}

/** Creates the parts. */
export function createMail(init: MailInit): MailParts {
  const { attemptsMax, redeliveryInitialMs, idPrefix, wake, ...rest } = init;
  const book = new MailBook();
  const journal = new MailJournal();
  const common = { ...rest, book, journal };
  const desk = new MailDesk({
    ...common,
    idPrefix,
    attemptsMax,
    redeliveryInitialMs,
    onWork: (when) => wake(office.isPressed ? "now" : when),
  });
  const office: MailOffice = new MailOffice({ ...common, desk, onWork: () => wake("now") });
  return { book, desk, office };
}
