# shellcheck shell=bash
# Shared by the scripts of scripts/bench. Sourced after process.sh, with TIDEMARK_BIN and the servers of
# scripts/with-services in the environment. Each run has databases and a queue prefix of its own.

bench=tidemark_bench_$$_$RANDOM
[[ $TIDEMARK_TEST_DATABASE_URL =~ ^([a-z]+://[^/?]*)(/[^?]*)?(\?.*)?$ ]] ||
    fail 64 'TIDEMARK_TEST_DATABASE_URL is no URL'
database_url() { printf '%s' "${BASH_REMATCH_1}/${bench}_$1${BASH_REMATCH_3}"; } # SIDE
BASH_REMATCH_1=${BASH_REMATCH[1]} BASH_REMATCH_3=${BASH_REMATCH[3]:-}

export TIDEMARK_AMQP_URL=$TIDEMARK_TEST_AMQP_URL TIDEMARK_AMQP_PREFIX=$bench
TIDEMARK_SOURCE_URL=$(database_url source)
# the processes' login has no more rights than they need
owner_url=$(database_url target)
TIDEMARK_DATABASE_URL=${owner_url%%://*}://$bench:$bench@${owner_url#*://}
[[ ${owner_url#*://} != *@* ]] || TIDEMARK_DATABASE_URL=${owner_url%%://*}://$bench:$bench@${owner_url#*@}
export TIDEMARK_SOURCE_URL TIDEMARK_DATABASE_URL

on_server() { psql -qXAt -v ON_ERROR_STOP=1 "$TIDEMARK_TEST_DATABASE_URL" -c "$1"; }
on_source() { psql -qXAt -v ON_ERROR_STOP=1 "$TIDEMARK_SOURCE_URL" -c "$1"; }
on_target() { psql -qXAt -v ON_ERROR_STOP=1 "$owner_url" -c "$1"; }

drop_database() { # SIDE
    psql -qX "$TIDEMARK_TEST_DATABASE_URL" -c "DROP DATABASE IF EXISTS ${bench}_$1 WITH (FORCE)" 2>/dev/null
}

make_target() { # PROGRAM
    drop_database target || true
    on_server "CREATE DATABASE ${bench}_target"
    TIDEMARK_DATABASE_URL=$owner_url "$1" migrate 2>/dev/null
    on_server "SELECT 1 FROM pg_roles WHERE rolname = '$bench'" | grep -q 1 ||
        on_server "CREATE ROLE $bench LOGIN PASSWORD '$bench' IN ROLE etl_service"
}

# Starts a process of the program beside this script; `stop_role` ends it.
role=
start_role() { # LOG COMMAND…
    local log=$1
    shift
    "$@" </dev/null >/dev/null 2>"$log" &
    role=$!
}
stop_role() {
    [[ -z $role ]] || { kill "$role" && wait "$role"; } 2>/dev/null || true
    role=
}

# Waits until a statement on the target returns t.
until_target() { # STATEMENT
    until [[ $(on_target "$1") == t ]]; do
        kill -0 "$role" || fail 1 'the process under measurement has ended'
        sleep 0.02
    done
}

clear_bench() {
    stop_role
    rm -rf "$scratch"
    drop_database source || true
    drop_database target || true
    psql -qX "$TIDEMARK_TEST_DATABASE_URL" -c "DROP ROLE IF EXISTS $bench" 2>/dev/null || true
    local kind name
    [[ -n ${TIDEMARK_TEST_AMQP_MANAGEMENT_URL:-} ]] || return 0
    for name in queues:chunks.live queues:chunks.bulk queues:events queues:dead exchanges:jobs exchanges:dead; do
        kind=${name%%:*} name=$bench.${name#*:}
        curl -fsS -X DELETE "$TIDEMARK_TEST_AMQP_MANAGEMENT_URL/api/$kind/%2f/$name" 2>/dev/null || true
    done
}
scratch=$(mktemp -d -t tidemark-bench.XXXXXX)
trap clear_bench EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
