#!/bin/sh
# Needs Zig 0.15.2, as PyPI's ziglang has it: pip install ziglang==0.15.2. Set ZIG if it is called otherwise.
# A custom section may stand anywhere in a module, so the one that names the world is put behind the last.
set -eu
cd "$(dirname "$0")"
mkdir -p target
${ZIG:-python3 -m ziglang} build-exe split_words.zig -target wasm32-freestanding -mcpu=generic+simd128+bulk_memory \
    -O ReleaseFast -fno-entry -rdynamic -fstrip -femit-bin=target/core.wasm
cat target/core.wasm component-type.bin > target/split-words.wasm
