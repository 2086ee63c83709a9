#!/usr/bin/env bash
# Runs one test binary for `cargo test` within its time budget and notes how long it took.
#
# Cargo calls it as the target's runner, in the folder of the package: suite.sh BINARY ARGUMENTS...
set -uo pipefail

# Longest a suite may take, in seconds, by the name of its binary: some three times what it takes on two cores, so that one that hangs is
# named. test.sh holds all of them together, the build included, below 30 minutes; what needs more belongs into `make soak`.
budget_of() {
    case $1 in
        live* | campaign*) echo 240 ;;
        mutants* | scenarios* | control* | demo* | shell* | crash* | journal*) echo 150 ;;
        *) echo 90 ;;
    esac
}

name=$(basename "$1")
name=${name%-*}
budget=$(($(budget_of "$name") * ${RIENTRO_BUDGET_FACTOR:-1}))
start=$SECONDS
timeout --kill-after=10 "$budget" "$@"
status=$?
if ((status == 124 || status == 137)); then echo "error: suite $name spent its budget of $budget s" >&2; fi
if [[ -n ${RIENTRO_SUITE_TIMES:-} ]]; then
    printf '%5d s of %5d  %s  %s\n' $((SECONDS - start)) "$budget" "$( ((status == 0)) && echo ok || echo FAILED)" "$name" >>"$RIENTRO_SUITE_TIMES"
fi
exit "$status"
