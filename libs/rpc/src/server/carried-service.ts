import { create, createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

/** Reads the descriptor of a service that a gRPC package carries in its grpc-js definition, so that the contract is
 * the official one and needs no copy here. Errors: a plain Error when the package does not carry it. */
export function carriedService(definition: object, typeName: string): DescService {
  const [method] = Object.values(definition as Record<string, CarriedMethod>);
  const files = (method?.requestType.fileDescriptorProtos ?? []).map((bytes) =>
    qualifyTypeNames(fromBinary(FileDescriptorProtoSchema, bytes)),
  );
  const set = create(FileDescriptorSetSchema, { file: files });
  const desc = createFileRegistry(set).getService(typeName);
  if (desc === undefined) throw new Error(`The package carries no ${typeName}.`);
  return desc;
}

interface CarriedMethod {
  readonly requestType: { readonly fileDescriptorProtos: readonly Buffer[] };
}

/** Names map entry types as protoc does, `<Field>Entry`: protobufjs, from which these descriptors come, calls them
 * like the field, and strict readers refuse that. */
function renameMapEntries(message: DescriptorProto): void {
  for (const nested of message.nestedType) {
    renameMapEntries(nested);
    if (nested.options?.mapEntry !== true) continue;
    const field = message.field.find(({ typeName }) => typeName.split(".").at(-1) === nested.name);
    nested.name = `${nested.name}Entry`;
    if (field !== undefined) field.typeName = nested.name;
  }
}

/** Makes type names absolute; protobufjs leaves them as written. */
function qualifyTypeNames(file: FileDescriptorProto): FileDescriptorProto {
  file.messageType.forEach(renameMapEntries);
  const known = new Set<string>();
  collect(file.messageType, file.enumType, `.${file.package}`);

  for (const message of file.messageType) qualifyMessage(message, `.${file.package}`);
  for (const service of file.service) {
    for (const method of service.method) {
      method.inputType = resolve(method.inputType, `.${file.package}`);
      method.outputType = resolve(method.outputType, `.${file.package}`);
    }
  }
  return file;

  function collect(
    messages: readonly DescriptorProto[],
    enums: readonly { name: string }[],
    scope: string,
  ): void {
    for (const { name } of enums) known.add(`${scope}.${name}`);
    for (const message of messages) {
      known.add(`${scope}.${message.name}`);
      collect(message.nestedType, message.enumType, `${scope}.${message.name}`);
    }
  }

  function qualifyMessage(message: DescriptorProto, outer: string): void {
    const scope = `${outer}.${message.name}`;
    for (const field of message.field) {
      if (field.typeName !== "") field.typeName = resolve(field.typeName, scope);
    }
    for (const nested of message.nestedType) qualifyMessage(nested, scope);
  }

  /** Looks a name up from the innermost scope outwards, as protoc does. */
  function resolve(name: string, scope: string): string {
    if (name.startsWith(".")) return name;
    for (let at = scope; at !== ""; at = at.slice(0, at.lastIndexOf("."))) {
      if (known.has(`${at}.${name}`)) return `${at}.${name}`;
    }
    return `.${name}`;
  }
}
