#!/bin/sh
# The SDK's own tests, and those of the browser tests' tools: they need no browser. And its types under tsc.
set -eu
cd "$(dirname -- "$0")/.."
set -- sdk/test/*.test.js
[ -e "$1" ] || { echo "sdk/test: no test found" >&2; exit 1; }
node --test "$@" e2e/test/*.test.mjs
for config in sdk/tsconfig.json sdk/test/tsconfig.json sdk/example/tsconfig.json; do
  [ -e "$config" ] || continue
  echo "tsc -p $config"
  e2e/node_modules/.bin/tsc -p "$config" --noEmit
  checked=1
done
[ -n "${checked:-}" ] || { echo "sdk: no tsconfig.json found" >&2; exit 1; }
