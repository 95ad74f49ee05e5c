import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

/** The plain-object form of a message: MessageInitShape without the message itself, so that it can be spread. */
export type MessageInit<S extends DescMessage> = Exclude<MessageInitShape<S>, MessageShape<S>>;
