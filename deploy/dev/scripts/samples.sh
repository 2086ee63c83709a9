#!/usr/bin/env bash
# Unpacks the sample messages of CPython's test_email (a Debian package of the Python test suite) and prints their folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

testsuite_package() { apt-cache "${apt_options[@]}" pkgnames libpython3 | grep -E '^libpython3\.[0-9]+-testsuite$' | sort -V | tail -1; }

fill() {
    require_apt "the sample messages"
    [[ -n $(testsuite_package) ]] || use_own_lists
    fetch "$1/debs" no "$(testsuite_package)"
    dpkg-deb --fsys-tarfile "$1"/debs/*.deb | tar -x -C "$1" --wildcards '*/test/test_email/data/*' --transform 's|.*/data/||'
    rm -rf "$1/debs"
    [[ -n $(find "$1" -name 'msg_*.txt' -print -quit) ]] || die "the package of the Python test suite holds no sample messages"
}

bring samples 1 fill
