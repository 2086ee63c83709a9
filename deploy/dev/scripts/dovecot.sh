#!/usr/bin/env bash
# Unpacks Dovecot (core, imapd, lmtpd and the libraries the host lacks) beside the system and prints its root folder.
#
# Dovecot finds nearly everything through settings (libexec_dir, mail_plugin_dir) and LD_LIBRARY_PATH. One path is compiled in: the folder of
# the SSL module, which lmtp opens before it reads any setting. In the unpacked copy that path is shortened to the relative `modules`; each
# instance has a link of this name in its base_dir, where Dovecot's processes start.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

module_path=/usr/lib/dovecot/modules
replacement=modules

fill() {
    require_apt Dovecot
    fetch "$1/debs" yes dovecot-core dovecot-imapd dovecot-lmtpd
    local deb version
    version=$(dpkg-deb -f "$1"/debs/dovecot-core_*.deb Version)
    [[ $version =~ ^(1:)?2\.3\. ]] || die "this release brings Dovecot $version; the tests' configuration is written for 2.3"
    for deb in "$1"/debs/*.deb; do dpkg-deb -x "$deb" "$1"; done
    rm -rf "$1/debs"
    shorten_module_path "$1"/usr/lib/dovecot/libdovecot.so.0.0.0
}

# Replaces the path by a shorter one of the same length in bytes, filled up with NULs.
shorten_module_path() {
    local padding=$((${#module_path} - ${#replacement})) nuls=
    while ((padding-- > 0)); do nuls+='\x00'; done
    LC_ALL=C grep -q "$module_path" "$1" || die "$1 does not name $module_path: this release of Dovecot is not known to these scripts"
    LC_ALL=C sed -i "s|$module_path\\x00|$replacement\\x00$nuls|" "$1"
}

bring dovecot 1 fill
