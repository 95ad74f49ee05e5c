/** Every number that bounds the router, in one place. Over a limit there is a typed answer, never growth. */
import { KiB, MiB } from "@nexus/shared";

/** Sessions of one replica, connected and detached. */
export const SESSIONS_MAX = 20_000;

/** Items in each list of a frame; the contract uses the same number. */
export const FRAME_ITEMS_MAX = 512;

/** Items that the router puts into each list of a frame: half of what it takes, so that the agent works on one frame while the next
 * is made. With whole ones the processes of a busy pair took turns, and a seventh more of the machine was idle. */
export const FRAME_ITEMS_SENT = 256;

/** State operations of a session that have no answer yet, or one that was not written; the credit of Welcome. As many handlers may run for
 * a session, also where the deadline of their operations has passed. */
export const STATE_OPS_MAX = 16;

/** A larger answer goes by itself: with what surrounds it, it must stay below the limit of a message, 4 MiB. */
export const STATE_ANSWER_BYTES_MAX = 3_584 * KiB;

/** Answers that wait for their agents to read, of one session and of all; beyond it agents make their calls by themselves. */
export const STATE_SESSION_ANSWERS_BYTES_MAX = 8 * MiB;
export const STATE_ANSWERS_BYTES_MAX = 64 * MiB;

/** An answer of this size is sent whatever else waits: its refusal would be no smaller. */
export const STATE_ANSWER_SMALL_BYTES = 1 * KiB;

/** How long a stream that ends in good order waits for the operations that run: less than the server lets a stream linger. */
export const STATE_LINGER_MS = 500;

/** How long such an operation may take, and where the agent does not say. */
export const STATE_OP_TIMEOUT_MAX_MS = 60_000;
export const STATE_OP_TIMEOUT_DEFAULT_MS = 10_000;

/** Answers to state operations join a frame while it stays below this much, which leaves a quarter of the message limit to what surrounds
 * them; a larger one travels alone. */
export const FRAME_WITH_ANSWERS_MAX = 3 * MiB;

/** A frame is closed once it holds this much; a larger single item travels alone. A quarter of the message limit. */
export const FRAME_BYTES_MAX = 1 * MiB;

/** What an item costs beside its payload, for accounting. */
export const ITEM_OVERHEAD_BYTES = 128;

/** Items that may wait for one agent to read; beyond it the stream ends SESSION_TOO_SLOW. */
export const OUTBOX_ITEMS_MAX = 16_384;

/** Bytes of assignments that may wait for one agent; beyond it assignments are refused. */
export const OUTBOX_BYTES_MAX = 16 * MiB;

/** Bytes of assignments that wait for all agents of the replica: an agent for which more than the first number wait is given no further
 * one while its namespace holds as much of the second as it leaves free. */
export const ASSIGNMENTS_FREE_BYTES = 64 * KiB;
export const ASSIGNMENTS_WAITING_BYTES_MAX = 128 * MiB;

/** Messages stop moving from a receiver's queue to its stream while this much waits there. */
export const DELIVERY_BACKLOG_BYTES = 1 * MiB;

/** Messages that wait for one receiver's credit, and their bytes. */
export const MESSAGE_QUEUE_MAX = 1_000;
export const MESSAGE_QUEUE_BYTES_MAX = 4 * MiB;

/** Messages without an outcome in the whole replica, and their bytes. Of these a namespace may hold as much as it leaves free. */
export const PENDING_MESSAGES_MAX = 100_000;
export const PENDING_BYTES_MAX = 64 * MiB;

/** Replies on their way, and their bytes, apart from those: whoever asked has waited already. */
export const REPLIES_MAX = 100_000;
export const REPLIES_BYTES_MAX = 32 * MiB;

/** The part of its share in which messages of a namespace may wait for their receivers; the rest is for those that go straight on. */
export const WAITING_PART = 0.5;

/** Messages to an agent at another replica without an outcome, from which on a further one counts as one that waits. */
export const FAR_UNDER_WAY = 16;

/** How long a connection may be silent: until it is given up, an orchestrator that is stuck keeps its share of agents' slots. */
export const CONNECTION_SILENT_MAX_MS = 15_000;

/** Messages without an outcome of one sender. */
export const PENDING_PER_SENDER_MAX = 10_000;

/** Beside those, copies of what one sender sent to many, and messages of its calls: two to as many as there may be. */
export const COPIES_PER_SENDER_MAX = 20_000;

/** Message deliveries an agent may have granted at once; the contract uses the same number. */
export const MESSAGE_CREDIT_MAX = 10_000;

/** How long a message is worth delivering when its sender does not say. */
export const MESSAGE_TIMEOUT_DEFAULT_MS = 30_000;

/** What an OVERLOADED sender is asked to wait. */
export const OVERLOADED_RETRY_MS = 100;

/** How long the outcome of a message to many waits for copies that have not left their receivers' queues. Of a receiver that keeps up none
 * is there for so long: a full queue is 1 000 messages, which it takes in 10 to 40 ms. */
export const PUBLISH_WAIT_MS = 100;

/** Bytes of frames that are read before the messages that have no outcome yet let go of theirs: until then each may show parts of a frame
 * that nothing counts. */
export const FRAMES_HELD_BYTES = 32 * MiB;

/** Updates, refusals and their bytes that may wait for one orchestrator; beyond it the stream ends DISPATCH_TOO_SLOW. */
export const DISPATCH_QUEUE_MAX = 65_536;
export const DISPATCH_QUEUE_BYTES_MAX = 32 * MiB;

/** Above these the droppable updates, progress and chunks, are dropped to leave room for the others. */
export const DISPATCH_PRESSURE_ITEMS = DISPATCH_QUEUE_MAX / 4;
export const DISPATCH_PRESSURE_BYTES = DISPATCH_QUEUE_BYTES_MAX / 4;

/** Orchestrator replicas connected at once. */
export const DISPATCH_LINKS_MAX = 64;

/** How long orchestrators that want no more of a session may be told too late that its free slots changed. */
export const SLOT_NEWS_MS = 20;

/** Pace at which unused turns for a contended slot are looked for. The first passes at the second look, later ones at
 * every doubling up to this many looks. */
export const SLOT_TURN_MS = 250;
export const SLOT_TURN_STEPS_MAX = 32;

/** How long a new stream may take to say hello. */
export const HELLO_TIMEOUT_MS = 10_000;

/** Bytes of a resume token before encoding: 256 bits. */
export const RESUME_TOKEN_BYTES = 32;

/** Width of one slot of the message timer wheel, and the number of slots (a power of two: 41 s a turn). */
export const WHEEL_TICK_MS = 10;
export const WHEEL_SLOTS = 4_096;

/** Presences in one report; the contract uses the same number. */
export const PRESENCE_BATCH_MAX = 512;

/** Ended sessions whose last presence waits for a registry that is away. */
export const PRESENCE_ENDED_MAX = 10_000;

/** Durable messages of one mailbox, in the table; a setting. */
export const MAILBOX_MAX = 10_000;

/** Messages of one mailbox in memory, and their bytes: the window that is near its delivery. The rest is read when half is gone. Several
 * times what a receiver has in hand by its SDK's credit, 1 024: a message that finds no room is read back from the table, and so are all
 * behind it until the receiver has caught up. */
export const MAIL_WINDOW = 4_096;
export const MAIL_WINDOW_BYTES = 8 * MiB;

/** Bytes of all mail in memory. Beyond it a mailbox gets only this many messages at a time, so that each goes on. */
export const MAIL_BYTES_MAX = 128 * MiB;
export const MAIL_WINDOW_POOR = 16;

/** Mailboxes and messages that one statement reads. */
export const MAIL_LOAD_BOXES = 64;
export const MAIL_LOAD_ROWS = 512;
/** Bytes of messages that one statement reads, the first of them apart: the oldest of each mailbox, then the next. */
export const MAIL_LOAD_BYTES = 8 * MiB;

/** New messages of one transaction, and their bytes. */
export const MAIL_BATCH = 1_024;
export const MAIL_BATCH_BYTES = 8 * MiB;

/** Sessions whose mailbox one statement looks up. */
export const MAIL_RESOLVE_BATCH = 512;

/** New messages that wait for their commit, and their bytes. Of these a namespace may hold as much as it leaves free. */
export const MAIL_POSTS_MAX = 40_000;
export const MAIL_POSTS_BYTES_MAX = 64 * MiB;

/** Acknowledgements that wait for a commit to ride along with; this many make one of their own at once. */
export const MAIL_ACKS_WAITING = 512;

/** Mailboxes whose number and length a replica knows. */
export const MAILBOXES_KNOWN_MAX = 50_000;

/** What is known of a mailbox's length is read anew before it refuses, unless it is younger than this. */
export const MAILBOX_COUNT_FRESH_MS = 1_000;

/** Senders whose empty lanes a mailbox remembers. */
export const LANES_IDLE_MAX = 1_024;

/** How long a durable message is kept, and how long its receiver may be silent, when its sender does not say. */
export const MAIL_TTL_DEFAULT_MS = 86_400_000;
export const ACK_WAIT_DEFAULT_MS = 30_000;

/** The delay after failures grows up to this. */
export const REDELIVERY_MAX_MS = 300_000;

/** How long an agent without a session is remembered, with its durable subscriptions; a setting. As long as a durable message may live: nothing
 * that was sent while it was known to be there is left then. */
export const ABSENT_AGENTS_KEPT_MS = 7 * 86_400_000;

/** Attempts before a message is a dead letter; a setting. */
export const MAIL_ATTEMPTS_MAX = 10;

/** Messages that may cause each other in a row. Source: ruflo#1723; the longest chain seen in the field is 4 (pi-msg#23). */
export const HOPS_MAX = 8;

/** Messages a minute from one principal to another that other messages caused; a setting. */
export const PAIR_CAUSED_PER_MINUTE = 6_000;
export const PAIRS_KNOWN_MAX = 50_000;

/** Unacknowledged messages in a row that open a receiver's breaker, and for how long. Source: Envoy's consecutive_5xx. */
export const BREAKER_FAILURES = 5;
export const BREAKER_OPEN_MS = 5_000;

/** Answers about leases that are kept. */
export const LEASES_KNOWN_MAX = 50_000;

/** Messages that wait for a lease's check, and their bytes. Of these a namespace may hold as much as it leaves free. */
export const HELD_MESSAGES_MAX = 100_000;
export const HELD_BYTES_MAX = 64 * MiB;

/** Receivers of one message: ephemeral copies share their body, durable ones are rows. */
export const FANOUT_MAX = 10_000;
export const FANOUT_DURABLE_MAX = 1_000;

/** Members of a group that are looked at for the least loaded one. */
export const CANDIDATES_MAX = 16;

/** Members that a message to any one of them is offered to, one after the other, while they cannot take it. */
export const ANY_OF_TRIES_MAX = 3;

/** Subscriptions of one agent. */
export const SUBSCRIPTIONS_MAX = 256;

/** References to subscribers and watchers that remembered topics hold, of all namespaces: 8 MiB. */
export const TOPIC_REFERENCES_KEPT = MiB;

/** Published messages that wait for one watcher, and their bytes. */
export const WATCH_BUFFER_MAX = 1_024;
export const TAIL_BYTES_MAX = 2 * MiB;

/** The same for all watchers together. Of these a namespace may hold as much as it leaves free. */
export const TAILS_MESSAGES_MAX = 100_000;
export const TAILS_BYTES_MAX = 64 * MiB;

/** Changes in one word of a roster, and words that wait for the whole roster of their replica. */
export const ROSTER_CHANGES_MAX = 1_000;
export const ROSTER_NEWS_WAITING_MAX = 1_000;

/** How long a whole roster is kept for others, and what one part of it holds. */
export const ROSTER_KEPT_MS = 60_000;
export const ROSTER_PART_CHANGES = 10_000;

/** Agents whose replica one statement looks up, and agents that are looked for at once. */
export const SEEK_BATCH = 512;
export const SOUGHT_MAX = 10_000;

/** Messages of other replicas that have no outcome yet. */
export const REMOTE_SENDERS_MAX = 100_000;
