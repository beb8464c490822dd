#!/bin/sh
# Compiles numba's kernels by one small job: else a user's first job takes two minutes more.
#   kernels.sh ENVIRONMENT SCENE
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "compiling kernels: one small job, two minutes"
"$1/bin/orograph" run city "$2/request.json" --out "$scratch" >/dev/null
