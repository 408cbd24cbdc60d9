# shellcheck shell=bash
# Where the servers of the tests keep their files. Sourced.

# A test creates and drops databases of a thousand small files, and on ext4 that takes longer than everything else that
# PostgreSQL does for the test. So the files are in memory, where that has room: the tests use up to 2 GB at a time.
# TIDEMARK_SERVICES_FOLDER names another folder, and TIDEMARK_SERVICES_FOLDER= none.
services_in_memory() {
    [[ -z ${TIDEMARK_SERVICES_FOLDER+set} ]] || return 0
    local room free
    [[ $(stat --file-system --format %T /dev/shm 2>/dev/null) == tmpfs && -w /dev/shm ]] || return 0
    room=$(df --output=avail --block-size=1M /dev/shm | tail -n 1)
    free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    # Twice what is used must be left, and the tests' processes need memory as well.
    ((room >= 4096 && free >= 6144)) || return 0
    export TIDEMARK_SERVICES_FOLDER=/dev/shm
}
