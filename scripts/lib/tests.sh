# shellcheck shell=bash
# How the tests use the machine. Sourced.

# A test creates and drops databases of a thousand small files, and on ext4 that takes longer than everything else that
# PostgreSQL does for the test. So the files are in memory, where that has room: twelve tests at a time used 0.6 GB.
# TIDEMARK_SERVICES_FOLDER names another folder, and an empty one is none.
services_in_memory() {
    [[ -z ${TIDEMARK_SERVICES_FOLDER+set} ]] || return 0
    local room free
    [[ $(stat --file-system --format %T /dev/shm 2>/dev/null) == tmpfs && -w /dev/shm ]] || return 0
    room=$(df --output=avail --block-size=1M /dev/shm | tail -n 1)
    free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    # the tests' processes need memory as well
    ((room >= 3072 && free >= 4096)) || return 0
    export TIDEMARK_SERVICES_FOLDER=/dev/shm
}

# Tests wait for servers and processes about half of the time, so two share a core, and those that take servers away wait
# nearly always. More than eight would want more connections than the private PostgreSQL has.
tests_side_by_side() {
    local cores threads
    cores=$(nproc)
    threads=$((2 * cores + 1 < 8 ? 2 * cores + 1 : 8))
    export NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$((threads > cores ? threads : cores))}
}
