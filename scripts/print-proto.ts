/** Prints a protobuf file descriptor as .proto source.
 *
 * Enough of the language for proto2 and proto3 files that hold messages, enums and extensions. Options and
 * comments are left out: the text is read by buf only to resolve imports, never by people.
 */
import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";

const MAX_FIELD_NUMBER = 536_870_912;

/** Prints a whole file: syntax, package, imports, then every declaration. */
export function printProto(file: FileDescriptorProto): string {
  const syntax = file.syntax === "" ? "proto2" : file.syntax;
  const lines = [`syntax = "${syntax}";`, `package ${file.package};`];
  lines.push(...file.dependency.map((path) => `import "${path}";`));
  const scope = { proto3: syntax === "proto3" };
  lines.push(...file.messageType.flatMap((message) => printMessage(message, scope)));
  lines.push(...file.enumType.flatMap(printEnum));
  lines.push(...printExtensions(file.extension, scope));
  return `${lines.join("\n")}\n`;
}

interface Scope {
  readonly proto3: boolean;
}

function printMessage(message: DescriptorProto, scope: Scope): string[] {
  const body: string[] = [];
  body.push(...message.enumType.flatMap(printEnum));
  body.push(...message.nestedType.flatMap((nested) => printMessage(nested, scope)));
  body.push(...printExtensions(message.extension, scope));
  const oneofs = new Map<number, string[]>();
  for (const field of message.field) {
    const inRealOneof = field.oneofIndex !== undefined && hasOneof(field) && !field.proto3Optional;
    if (!inRealOneof) {
      body.push(printField(field, scope));
      continue;
    }
    const members = oneofs.get(field.oneofIndex) ?? [];
    members.push(`${typeName(field)} ${field.name} = ${field.number};`);
    oneofs.set(field.oneofIndex, members);
  }
  for (const [index, members] of oneofs) {
    body.push(`oneof ${message.oneofDecl[index]?.name} {`, ...members, "}");
  }
  for (const range of message.extensionRange) {
    const last = range.end === MAX_FIELD_NUMBER ? "max" : String(range.end - 1);
    body.push(`extensions ${range.start} to ${last};`);
  }
  for (const range of message.reservedRange) {
    body.push(`reserved ${range.start} to ${range.end - 1};`);
  }
  return [`message ${message.name} {`, ...body.map((line) => `  ${line}`), "}"];
}

/** protobuf-es gives oneofIndex a default of 0, so presence must be asked of the message itself. */
function hasOneof(field: FieldDescriptorProto): boolean {
  return Object.hasOwn(field, "oneofIndex");
}

function printField(field: FieldDescriptorProto, scope: Scope): string {
  return `${label(field, scope)}${typeName(field)} ${field.name} = ${field.number};`;
}

function label(field: FieldDescriptorProto, scope: Scope): string {
  if (field.label === Label.REPEATED) return "repeated ";
  if (field.label === Label.REQUIRED) return "required ";
  return scope.proto3 && !field.proto3Optional ? "" : "optional ";
}

function typeName(field: FieldDescriptorProto): string {
  if (field.typeName !== "") return field.typeName;
  return Type[field.type].toLowerCase();
}

function printEnum(descriptor: EnumDescriptorProto): string[] {
  const values = descriptor.value.map((value) => `  ${value.name} = ${value.number};`);
  const alias = descriptor.options?.allowAlias === true ? ["  option allow_alias = true;"] : [];
  return [`enum ${descriptor.name} {`, ...alias, ...values, "}"];
}

function printExtensions(extensions: readonly FieldDescriptorProto[], scope: Scope): string[] {
  return extensions.map((field) => `extend ${field.extendee} { ${printField(field, scope)} }`);
}
