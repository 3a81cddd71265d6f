#!/bin/sh
# Generates Go from the .proto files. Needs Debian's protobuf-compiler; the
# plugins are tools of go.mod.
set -eu
cd "$(dirname "$0")/.."
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
go build -o "$plugins/" google.golang.org/protobuf/cmd/protoc-gen-go \
  google.golang.org/grpc/cmd/protoc-gen-go-grpc github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto
generate() { PATH="$plugins:$PATH" protoc -I . "$@"; }

generate --go_out=. --go_opt=paths=source_relative \
  --go-grpc_out=. --go-grpc_opt=paths=source_relative api/*/v1/*.proto

# What is stored, replicated and assigned by the hundred thousand also gets code
# without reflection.
generate --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+size \
  api/swarm/v1/types.proto api/swarm/v1/specs.proto api/swarm/v1/objects.proto \
  api/swarm/v1/raft.proto api/swarm/v1/snapshot.proto api/swarm/v1/dispatcher.proto
