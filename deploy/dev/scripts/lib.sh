# Functions for the scripts that bring what builds and tests need. Sourced, never run.
#
# The rule they keep: nothing of the host is replaced, removed, started or configured. Servers are unpacked into a cache folder beside the
# system and run from there with their own configuration. Paths go to stdout, everything said to people goes to stderr.

scripts_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace_folder=$(cd "$scripts_folder/../../.." && pwd)
# Where things are unpacked; RIENTRO_DEV_SERVERS moves it, for machines that share one cache between checkouts.
cache_folder=${RIENTRO_DEV_SERVERS:-${workspace_folder}/target/dev-servers}
# A second run waits this long for the one that is unpacking: longer than a slow mirror takes for the 8 MB of Dovecot.
lock_seconds_max=900
# The whole of one download; a mirror that needs longer is as good as gone.
download_seconds_max=600

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

require_apt() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        die "apt-get and dpkg-deb are needed to bring $1; on a system without them, install it by hand (see deploy/dev/scripts)"
}

# Options for every apt call: package lists of our own when the host's are empty, so that no call needs root or changes the host.
apt_options=(-q -o APT::Sandbox::User=root)
use_own_lists() {
    local lists=$cache_folder/apt/lists
    mkdir -p "$lists/partial" "$cache_folder/apt/archives/partial"
    apt_options+=(-o "Dir::State::Lists=$lists" -o "Dir::Cache=$cache_folder/apt" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    say "fetching package lists into $lists"
    timeout "$download_seconds_max" apt-get "${apt_options[@]}" update >&2 || die "the package lists could not be fetched: is a mirror reachable?"
}

candidate_known() {
    local policy
    policy=$(apt-cache "${apt_options[@]}" policy "$1" 2>/dev/null) && grep -q 'Candidate: [^(]' <<<"$policy"
}

# What apt would install for these packages, one name=version a line: the packages themselves and dependencies the host lacks.
closure_of() {
    printf '%s\n' "$@"
    apt-get "${apt_options[@]}" -s install --no-install-recommends "$@" 2>/dev/null | awk '$1 == "Inst" { print $2 }' || true
}

# Downloads packages into the folder $1, which then holds these and nothing else.
download() {
    local into=$1; shift
    rm -rf "$into"
    mkdir -p "$into"
    (cd "$into" && timeout "$download_seconds_max" apt-get "${apt_options[@]}" download "$@" >&2)
}

# Downloads what follows into the folder $1: once with the host's lists, and if those are stale (404) once more with fresh lists of our own.
fetch() {
    local into=$1 with_closure=$2; shift 2
    candidate_known "$1" || use_own_lists
    candidate_known "$1" || die "no package $1 in this release"
    local wanted=("$@")
    [[ $with_closure == no ]] || mapfile -t wanted < <(closure_of "$@" | sort -u)
    download "$into" "${wanted[@]}" && return
    say "the download failed; trying again with fresh lists"
    use_own_lists
    [[ $with_closure == no ]] || mapfile -t wanted < <(closure_of "$@" | sort -u)
    download "$into" "${wanted[@]}" || die "could not download ${wanted[*]}"
}

# bring NAME RECIPE FILL: prints the folder NAME of the cache, filled by the function FILL (called with an empty folder) unless it was already
# filled by the same RECIPE. Safe under parallel runs, and a run that is cut off leaves nothing that looks complete.
bring() {
    local name=$1 recipe=$2 fill=$3 folder=$cache_folder/$1
    mkdir -p "$cache_folder"
    exec 9>"$folder.lock"
    flock -w "$lock_seconds_max" 9 || die "another run has held $folder.lock for $lock_seconds_max s"
    if [[ $(cat "$folder/.recipe" 2>/dev/null) != "$recipe" ]]; then
        rm -rf "$folder" "$folder.part"
        mkdir -p "$folder.part"
        "$fill" "$folder.part"
        printf '%s' "$recipe" >"$folder.part/.recipe"
        mv "$folder.part" "$folder"
    fi
    exec 9>&-
    printf '%s\n' "$folder"
}
