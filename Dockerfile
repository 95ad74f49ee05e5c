# syntax=docker/dockerfile:1
# One image recipe for all six services: docker build --build-arg SERVICE=registry -t nexus/registry .
# No step names a package: npm finds what a service needs from its package.json.

ARG NODE_IMAGE=node:24-bookworm-slim

# Everything is built once; this stage is shared by all services' images.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts && npm run build

# What one service needs to run: its production dependencies, and of each workspace the compiled code only.
# A workspace has node_modules of its own where another version of a package lies at the top.
FROM build AS service
ARG SERVICE
RUN test -f "services/${SERVICE}/dist/main.js" \
  || { echo "SERVICE must name a folder of services/: $(ls services | tr '\n' ' ')" >&2; exit 1; }
RUN --mount=type=cache,target=/root/.npm \
  npm ci --omit=dev --ignore-scripts --workspace "services/${SERVICE}"
RUN mkdir /image && cp -R package.json node_modules /image/ \
  && for link in node_modules/@nexus/*; do \
    folder="$(realpath --relative-to=. "$link")"; \
    mkdir -p "/image/$folder"; \
    for part in package.json dist migrations node_modules; do \
      if [ -e "$folder/$part" ]; then cp -R "$folder/$part" "/image/$folder/"; fi; \
    done; \
  done

FROM ${NODE_IMAGE}
ARG SERVICE
ENV NODE_ENV=production
COPY --from=service /image /app
# 65532 is the id that distroless images call nonroot; it owns nothing in the image.
USER 65532:65532
WORKDIR /app/services/${SERVICE}
# node is the first process and handles SIGTERM itself, so no init program is needed.
CMD ["node", "--enable-source-maps", "dist/main.js"]
