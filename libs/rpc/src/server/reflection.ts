/** Server reflection over our own descriptors.
 *
 * Not @grpc/reflection's: it re-encodes files without custom options and leaves out imports that only options need, so
 * required_scope and the validation rules would be invisible and `buf curl` would miss files. Only the two contracts (v1,
 * v1alpha) are of that package. */
import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import { ReflectionV1, ReflectionV1Alpha } from "@nexus/proto/grpc-reflection";
import type { MethodPlan } from "./method-plan.ts";

/** Requests of one reflection stream that are answered at most. */
const MAX_REQUESTS_PER_STREAM = 10_000;

/** One reflection service and what serves it. */
export interface Reflection {
  readonly desc: DescService;
  readonly handlers: Readonly<Record<string, MethodPlan["handler"]>>;
}

/** A request of either version; both have the same shape. */
interface ReflectionRequest {
  readonly host: string;
  readonly messageRequest:
    | { readonly case: "fileByFilename"; readonly value: string }
    | { readonly case: "fileContainingSymbol"; readonly value: string }
    | { readonly case: "fileContainingExtension"; readonly value: ExtensionRequest }
    | { readonly case: "allExtensionNumbersOfType"; readonly value: string }
    | { readonly case: "listServices"; readonly value: string }
    | { readonly case: undefined };
}

interface ExtensionRequest {
  readonly containingType: string;
  readonly extensionNumber: number;
}

/** Clients ask for the newer one first and fall back. */
const CONTRACTS: readonly DescService[] = [ReflectionV1, ReflectionV1Alpha];

/** Creates both versions of reflection for the services and everything their files import. */
export function createReflections(services: readonly DescService[]): Reflection[] {
  const index = createIndex([...services, ...CONTRACTS]);
  return CONTRACTS.map((desc) => ({
    desc,
    handlers: {
      async *serverReflectionInfo(requests: AsyncIterable<ReflectionRequest>) {
        let answered = 0;
        for await (const request of requests) {
          if (answered++ >= MAX_REQUESTS_PER_STREAM) return;
          const messageResponse = index.answer(request.messageRequest);
          yield { validHost: request.host, originalRequest: request, messageResponse };
        }
      },
    },
  }));
}

function createIndex(services: readonly DescService[]) {
  const files = fileClosure(services.map((service) => service.file));
  const byName = new Map<string, DescFile>();
  const bySymbol = new Map<string, DescFile>();
  const extensions = new Map<string, Map<number, DescFile>>();
  for (const file of files) {
    byName.set(file.proto.name, file);
    indexFile(file);
  }

  function indexFile(file: DescFile): void {
    for (const service of file.services) {
      bySymbol.set(service.typeName, file);
      for (const { name } of service.methods) bySymbol.set(`${service.typeName}.${name}`, file);
    }
    for (const enumeration of file.enums) bySymbol.set(enumeration.typeName, file);
    const messages = [...file.messages];
    const found = [...file.extensions];
    for (const message of messages) {
      bySymbol.set(message.typeName, file);
      for (const nested of message.nestedEnums) bySymbol.set(nested.typeName, file);
      messages.push(...message.nestedMessages);
      found.push(...message.nestedExtensions);
    }
    for (const extension of found) {
      bySymbol.set(extension.typeName, file);
      const numbers = extensions.get(extension.extendee.typeName) ?? new Map<number, DescFile>();
      extensions.set(extension.extendee.typeName, numbers.set(extension.number, file));
    }
  }

  function extensionNumbers(typeName: string) {
    const numbers = extensions.get(typeName);
    if (numbers === undefined && !bySymbol.has(typeName)) return notFound("type", typeName);
    const extensionNumber = [...(numbers?.keys() ?? [])];
    return {
      case: "allExtensionNumbersResponse",
      value: { baseTypeName: typeName, extensionNumber },
    };
  }

  function answer(request: ReflectionRequest["messageRequest"]) {
    switch (request.case) {
      case "fileByFilename":
        return fileResponse(byName.get(request.value), "file", request.value);
      case "fileContainingSymbol":
        return fileResponse(bySymbol.get(request.value), "symbol", request.value);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = request.value;
        const file = extensions.get(containingType)?.get(extensionNumber);
        return fileResponse(file, "extension", `${containingType}[${extensionNumber}]`);
      }
      case "allExtensionNumbersOfType":
        return extensionNumbers(request.value);
      case "listServices": {
        const service = services.map(({ typeName }) => ({ name: typeName }));
        return { case: "listServicesResponse", value: { service } };
      }
      default:
        return failure(status.INVALID_ARGUMENT, "The request asks for nothing.");
    }
  }

  return { answer };
}

/** Answers with the file and all it imports, the file first: one round trip instead of one per import. */
function fileResponse(file: DescFile | undefined, what: string, name: string) {
  if (file === undefined) return notFound(what, name);
  const fileDescriptorProto = fileClosure([file]).map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

/** Returns the files and all they import, each before its imports. */
function fileClosure(roots: readonly DescFile[]): DescFile[] {
  const seen = new Set<DescFile>();
  const importsFirst: DescFile[] = [];
  const visit = (file: DescFile): void => {
    if (seen.has(file)) return;
    seen.add(file);
    file.dependencies.forEach(visit);
    importsFirst.push(file);
  };
  roots.forEach(visit);
  return importsFirst.reverse();
}

function notFound(what: string, name: string) {
  return failure(status.NOT_FOUND, `No such ${what}: ${name}`);
}

function failure(errorCode: number, errorMessage: string) {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
