#!/usr/bin/env bash
# What must hold before a test runs: layout of the text, lints, documentation.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$workspace_folder"
PROTOC=$("$scripts_folder/protoc.sh")
export PROTOC

step() {
    local name=$1 budget=$2 start=$SECONDS; shift 2
    timeout --foreground --kill-after=10 "$budget" "$@" || die "$name failed, or spent its budget of $budget s"
    say "$((SECONDS - start)) s of $budget: $name"
}

# A cold run compiles every dependency once for clippy and once more for the documentation.
step fmt 30 cargo fmt --all --check
step clippy 600 cargo clippy --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" step doc 300 cargo doc --workspace --no-deps --document-private-items
