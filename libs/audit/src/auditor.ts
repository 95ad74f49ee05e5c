import { randomUUID } from "node:crypto";
import type { DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import type { AuditedCall, AuditFacts, CallAuditor, CallRecord } from "@nexus/rpc";
import { encodeMessage, methodPath } from "@nexus/rpc";
import type { NexusError } from "@nexus/shared";
import { DenialCounter } from "./denials.ts";
import { ENTRY_BYTES_MAX } from "./quarantine.ts";
import { cut, formatDigest, type HashValue, type Summary, summarise } from "./summary.ts";

/** Where entries go that no transaction of the call has stored: resolves when durable.
 * Errors: unavailable/AUDIT_UNAVAILABLE within a deadline of its own. */
export type EnterDraft = (draft: Uint8Array) => Promise<void>;

/** What an auditor needs. */
export interface AuditorOptions {
  /** NEXUS service name. */
  readonly service: string;
  readonly enter: EnterDraft;
  /** Digests values under a key of the service; undefined while, or where, there is none. */
  readonly hash?: HashValue;
  /** Asked before a call begins: no call is served whose entry could not be written.
   * Errors: unavailable/AUDIT_UNAVAILABLE. @default there is always room */
  readonly assertRoom?: (call: AuditedCall) => void;
  /** Hears that a transaction has stored an entry. */
  readonly onStored?: () => void;
  /** True: enters only that a caller was not let in, not whatever else went wrong. For a service that passes calls on.
   * @default false */
  readonly denialsOnly?: boolean;
}

/** Keeps the entries of a service's calls. */
export interface Auditor extends CallAuditor {
  /** Encodes the entry of work that no call asked for, for the transaction that does it. */
  readonly system: (action: string, facts: AuditFacts) => Uint8Array;
  /** Enters the refusals that were counted since the last time. For a loop, once a second. */
  flushDenials(): Promise<void>;
}

const NO_HASH: HashValue = () => undefined;
/** Failed for what the caller named or proved: what it wrote may be anything, a password in the wrong place included. */
const DISTRUSTED_KINDS: ReadonlySet<string> = new Set(["unauthenticated", "not_found", "invalid"]);
const DENIED_KINDS: ReadonlySet<string> = new Set(["unauthenticated", "forbidden"]);
const UNREACHED_KINDS: ReadonlySet<string> = new Set(["unavailable", "deadline", "cancelled"]);
const EMPTY: Summary = { resource: "", fields: [] };

type EntryInit = Exclude<MessageInitShape<typeof AuditEntrySchema>, AuditEntry>;

/** Everything of a call's entry but how it ended. */
interface CommonPart {
  readonly entryId: string;
  readonly service: string;
  readonly action: string;
  readonly namespace: string;
  readonly actor: string;
  readonly actorKind: string;
  readonly tokenId: string;
  readonly peer: string;
  readonly resource: string;
  readonly requestId: string;
  readonly traceId: string;
  readonly fields: { readonly name: string; readonly value: string }[];
}

/** Creates the auditor of a service. */
export function createAuditor(options: AuditorOptions): Auditor {
  const denials = new DenialCounter<EntryInit>();
  return {
    begin(call) {
      options.assertRoom?.(call);
      return new Entry(call, options, denials);
    },
    system(action, { namespace = "", actor = "", resource = "", fields = {} }) {
      return encode({
        entryId: randomUUID(),
        service: options.service,
        action,
        result: AuditResult.ALLOWED,
        namespace,
        actor: actor === "" ? options.service : actor,
        actorKind: "system",
        resource,
        fields: Object.entries(fields).map(([name, value]) => ({ name, value: cut(value) })),
      });
    },
    async flushDenials() {
      const counted = denials.takeCounted();
      for (const [index, { count, entry }] of counted.entries()) {
        try {
          await options.enter(encode({ ...entry, entryId: randomUUID(), count }));
        } catch (error) {
          denials.putBack(counted.slice(index));
          throw error;
        }
      }
    },
  };
}

function encode(init: EntryInit): Uint8Array {
  const draft = encodeMessage(AuditEntrySchema, init);
  if (draft.byteLength <= ENTRY_BYTES_MAX) return draft;
  // Vault would not take it. Who did what counts more than the fields.
  const value = `[${init.fields?.length ?? 0}]`;
  const fields = [{ name: "left_out", value }];
  return encodeMessage(AuditEntrySchema, { ...init, fields, resource: cut(init.resource ?? "") });
}

/** The entry of one call. */
class Entry implements CallRecord {
  readonly entryId: string = randomUUID();
  readonly #call: AuditedCall;
  readonly #options: AuditorOptions;
  readonly #denials: DenialCounter<EntryInit>;
  #facts: AuditFacts = {};
  #isStored = false;
  #isElsewhere = false;

  constructor(call: AuditedCall, options: AuditorOptions, denials: DenialCounter<EntryInit>) {
    this.#call = call;
    this.#options = options;
    this.#denials = denials;
  }

  note(facts: AuditFacts): void {
    const fields = { ...this.#facts.fields, ...facts.fields };
    this.#facts = { ...this.#facts, ...facts, fields };
  }

  draft(): Uint8Array {
    return encode({ ...this.#common(false), result: AuditResult.ALLOWED });
  }

  stored(): void {
    this.#isStored = true;
    this.#options.onStored?.();
  }

  servedBy(whom: "self" | "another"): void {
    this.#isElsewhere = whom === "another";
  }

  async allowed(): Promise<void> {
    if (this.#isStored || this.#isElsewhere) return;
    await this.#options.enter(this.draft());
    this.#isStored = true;
  }

  async refused(error: NexusError, reached: boolean): Promise<void> {
    // A watcher that leaves has had what it came for, and that is entered.
    if (this.#isStored && error.kind === "cancelled") return;
    const { kind, reason } = error;
    const isDenied = DENIED_KINDS.has(kind);
    if (this.#options.denialsOnly === true && !isDenied) return;
    // Whoever served it has entered how it ended, unless it was never reached.
    if (this.#isElsewhere && !UNREACHED_KINDS.has(kind)) return;
    const entry = {
      ...this.#common(DISTRUSTED_KINDS.has(kind)),
      result: isDenied ? AuditResult.DENIED : AuditResult.FAILED,
      reason,
    };
    // Whoever is let in is bounded by limits of its own; everybody else is counted.
    const isOutside = !reached || this.#call.ctx.principal === undefined;
    if (isOutside && this.#isCounted(entry)) return;
    await this.#options.enter(encode(entry));
  }

  #isCounted(entry: CommonPart & { readonly reason: string }): boolean {
    const { action, reason, namespace, actor, peer, resource } = entry;
    // The port is another one for every connection.
    const from = peer.replace(/:\d+$/, "");
    const detail = [namespace, actor, from, resource].join("\n");
    return this.#denials.note({ action, reason, detail }, entry) === "counted";
  }

  /** Everything but how it ended. */
  #common(distrusted: boolean): CommonPart {
    const { ctx, traceId = "" } = this.#call;
    const { principal, method, peer } = ctx;
    const { namespace, actor, actorKind, resource, fields = {} } = this.#facts;
    const { request, answer } = this.#summaries(distrusted);
    const requestId = requestIdOf(this.#call.request());
    const noted = Object.entries(fields)
      .filter(([, value]) => value !== "")
      .map(([name, value]) => ({ name, value: cut(value) }));
    return {
      entryId: this.entryId,
      service: this.#options.service,
      action: methodPath(method).slice(1),
      namespace: namespace ?? principal?.namespace ?? "",
      actor: principal?.principalId ?? actor ?? "",
      actorKind: principal?.kind ?? actorKind ?? "anonymous",
      tokenId: principal?.tokenId ?? "",
      peer,
      resource: resource ?? request.resource,
      requestId: distrusted ? this.#digested(requestId) : cut(requestId),
      traceId,
      fields: [...request.fields, ...answer.fields, ...noted],
    };
  }

  #summaries(distrusted: boolean): { readonly request: Summary; readonly answer: Summary } {
    const { ctx } = this.#call;
    const { hash = NO_HASH } = this.#options;
    const options = { hash, distrusted };
    const request = this.#call.request();
    const answer = this.#call.answer();
    return {
      request:
        request === undefined ? EMPTY : summarise(ctx.method.input, request as Message, options),
      answer: answer === undefined ? EMPTY : summariseAnswer(ctx.method.output, answer as Message),
    };
  }

  #digested(text: string): string {
    const { hash = NO_HASH } = this.#options;
    return text === "" ? "" : formatDigest(hash(text));
  }
}

/** Of an answer only what is kept is of interest: that there is a secret in it says the method. */
function summariseAnswer(schema: DescMessage, answer: Message): Summary {
  const { fields } = summarise(schema, answer, { hash: NO_HASH, distrusted: false });
  const kept = fields.filter(({ value }) => !value.startsWith("["));
  return {
    resource: "",
    fields: kept.map(({ name, value }) => ({ name: `answer.${name}`, value })),
  };
}

function requestIdOf(request: unknown): string {
  const id = (request as { requestId?: unknown } | undefined)?.requestId;
  return typeof id === "string" ? id : "";
}
