#!/usr/bin/env bash
# Unpacks b3sum beside the system and prints its folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

fill() {
    require_apt b3sum
    fetch "$1/debs" no b3sum
    dpkg-deb -x "$1"/debs/*.deb "$1"
    rm -rf "$1/debs"
    [[ -x $1/usr/bin/b3sum ]] || die "the package b3sum holds no program of this name"
}

bring b3sum 1 fill
