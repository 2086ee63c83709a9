#!/usr/bin/env bash
# Sees to it that the build finds protoc, and prints its path.
#
# It is installed by apt where that only adds packages and there are the rights for it; otherwise it is unpacked beside the system.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Succeeds when apt would only add packages: none removed, none replaced by another version.
only_adds() {
    local plan
    plan=$(apt-get "${apt_options[@]}" -s install --no-install-recommends "$@" 2>/dev/null) || return 1
    ! grep -qE '^Remv |^Inst [^ ]+ \[' <<<"$plan"
}

as_root() {
    if ((EUID == 0)); then "$@"; else say "sudo: $*"; sudo "$@"; fi
}

install_by_apt() {
    ((EUID == 0)) || sudo -n true 2>/dev/null || [[ -t 0 && -n $(command -v sudo) ]] || return 1
    candidate_known protobuf-compiler || as_root apt-get -q update >&2 || return 1
    only_adds protobuf-compiler || { say "apt would remove or replace packages to install protobuf-compiler: not done"; return 1; }
    say "installing protobuf-compiler"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-remove --no-upgrade --no-install-recommends protobuf-compiler >&2
}

fill() {
    fetch "$1/debs" yes protobuf-compiler
    local deb
    for deb in "$1"/debs/*.deb; do dpkg-deb -x "$deb" "$1"; done
    rm -rf "$1/debs"
    local libraries
    libraries=$(find "$1" -name 'lib*.so*' -printf '%h\n' | sort -u | sed "s|^$1|\$here|" | paste -sd:)
    printf '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\nLD_LIBRARY_PATH="%s" exec "$here/usr/bin/protoc" "$@"\n' "$libraries" >"$1/protoc"
    chmod 755 "$1/protoc"
}

if ! command -v protoc >/dev/null; then
    require_apt protobuf-compiler
    if ! install_by_apt; then
        say "unpacking protobuf-compiler beside the system"
        folder=$(bring protoc 1 fill)
        printf '%s/protoc\n' "$folder"
        exit
    fi
fi
command -v protoc
