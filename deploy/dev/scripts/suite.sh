#!/usr/bin/env bash
# Runs one test binary for `cargo test` within its time budget and notes how long it took.
#
# Cargo calls it as the target's runner, in the folder of the package: suite.sh BINARY ARGUMENTS...
set -uo pipefail

# Longest a suite may take, in seconds, by the name of its binary. The budgets of all suites, of building and of linting stay together below
# 30 minutes on two cores; one that needs more belongs into `make soak`.
budget_of() {
    case $1 in
        live*) echo 300 ;;
        rientro_sim* | mutants* | scenarios* | campaign* | crash*) echo 400 ;;
        damage* | corpus*) echo 200 ;;
        *) echo 180 ;;
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
