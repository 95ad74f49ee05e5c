# syntax=docker/dockerfile:1
# One image recipe for all six services: docker build --build-arg SERVICE=registry -t nexus/registry .
# The build makes one file of each service (ADR 0024), so an image holds no packages.

ARG NODE_IMAGE=node:24-bookworm-slim

# Everything is built once; this stage is shared by all services' images.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY . .
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts && npm run build

# What one service needs to run: its code in one file, and what it does to its schema.
FROM build AS service
ARG SERVICE
WORKDIR /app/services/${SERVICE}
RUN test -f dist/bundle.js \
  || { echo "SERVICE must name a folder of services/: $(ls ..)" >&2; exit 1; }
RUN mkdir -p /image/dist && cp package.json /image/ && cp dist/bundle.* /image/dist/ \
  && if [ -d migrations ]; then cp -R migrations /image/; fi

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
COPY --from=service /image /app
# 65532 is the id that distroless images call nonroot; it owns nothing in the image.
USER 65532:65532
WORKDIR /app
# node is the first process and handles SIGTERM itself, so no init program is needed. The flag, which NODE_OPTIONS does not take, keeps node
# from collecting the whole heap while less than this lives in it.
CMD ["node", "--initial-old-space-size=64", "dist/bundle.js"]
