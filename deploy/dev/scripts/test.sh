#!/usr/bin/env bash
# Brings what the tests need, builds, and runs every suite; prints what each took.
#
#   test.sh          all suites, as in CI
#   test.sh soak     longer schedules of the same code
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$workspace_folder"

mode=${1:-ci}
case $mode in
    ci) sim_iterations=500 sim_seconds_max=420 tests_seconds_max=900 all_seconds_max=1800 ;;
    soak)
        sim_iterations=${SOAK_SIM_ITERATIONS:-50000} sim_seconds_max=86400 tests_seconds_max=86400 all_seconds_max=259200
        export RIENTRO_LIVE_ROUNDS=${SOAK_LIVE_ROUNDS:-20} RIENTRO_BUDGET_FACTOR=100
        # Far more cases for every property test.
        export PROPTEST_CASES=${PROPTEST_CASES:-20000}
        ;;
    *) die "the modes are ci and soak" ;;
esac
# A cold build of every test, dependencies included, on two cores.
build_seconds_max=900

times=$(mktemp)
trap 'rm -f "$times"' EXIT
failed=0

# step NAME SECONDS COMMAND...: runs the command within its budget, and all steps within theirs, and notes the time; goes on after a
# failure, so that one run shows all.
step() {
    local name=$1 budget=$2 left=$((all_seconds_max - SECONDS)) start=$SECONDS status=0; shift 2
    ((budget <= left)) || budget=$((left > 0 ? left : 1))
    say "== $name"
    timeout --foreground --kill-after=10 "$budget" "$@" || status=$?
    ((status != 124)) || say "error: $name spent its budget of $budget s"
    printf '%5d s of %5d  %s  == %s\n' $((SECONDS - start)) "$budget" "$( ((status == 0)) && echo ok || echo FAILED)" "$name" >>"$times"
    ((status == 0)) || failed=1
    return 0
}

bring_all() {
    "$scripts_folder/protoc.sh" && "$scripts_folder/dovecot.sh" && "$scripts_folder/samples.sh" &&
        "$scripts_folder/b3sum.sh"
} >&2

say "== what tests need"
start=$SECONDS
bring_all
printf '%5d s             ok  == what tests need\n' $((SECONDS - start)) >>"$times"
PROTOC=$("$scripts_folder/protoc.sh")
export PROTOC

host=$(rustc -vV | sed -n 's/^host: //p')
runner=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$host")_RUNNER
export "$runner=$scripts_folder/suite.sh" RIENTRO_SUITE_TIMES=$times

step "build of all tests" "$build_seconds_max" cargo test --workspace --no-run
if ((failed == 0)); then
    step "all test suites" "$tests_seconds_max" cargo test --workspace --no-fail-fast
    unset "$runner"
    step "simulator, $sim_iterations seeds" "$sim_seconds_max" \
        cargo run -p rientro-sim --bin rientro-sim -- --seed 1 --iterations "$sim_iterations" --require-coverage
fi
say "== times"
cat "$times" >&2
exit "$failed"
