#!/usr/bin/env bash
# Tests docker-compose.yml and the image: builds the image, brings the fleet up with four workers and a sample
# Chatwoot, syncs its tenants, scales workers 4 → 1 → 6 and restarts RabbitMQ and PostgreSQL in the middle of full syncs,
# enqueues a resync from a one-shot container, compares every row, and takes everything down again, volumes included.
#
#   scripts/compose-smoke.sh          (make compose-smoke)
#
# Needs a Docker engine with docker compose or docker-compose 1.29, and the images that the two files name. It uses a
# project, ports and secrets of its own. If the build image has no cargo, this machine's cargo builds the program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib/process.sh
. scripts/lib/process.sh

docker info >/dev/null 2>&1 || fail 69 'no Docker engine is running: start one (dockerd), or set DOCKER_HOST'
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    fail 69 'install docker compose (or docker-compose) first'
fi

step() { printf '==> %s (%s s)\n' "$*" "$SECONDS"; }

SECRETS=$(mktemp -d -t tidemark-smoke.XXXXXX)
ANALYTICS_PORT=$(free_port) RABBITMQ_PORT=$(free_port) JAEGER_PORT=$(free_port) CONSOLE_PORT=$(free_port)
export SECRETS ANALYTICS_PORT RABBITMQ_PORT JAEGER_PORT CONSOLE_PORT COMPOSE_PROFILES=demo SAMPLE_CONVERSATIONS=${SAMPLE_CONVERSATIONS:-6000}
export COMPOSE_PROJECT_NAME=tidemark-smoke-$$ TIDEMARK_IMAGE=tidemark:smoke-$$
clear_up() {
    local code=$?
    if ((code != 0)); then
        "${compose[@]}" ps -a 2>/dev/null || "${compose[@]}" ps || true
        "${compose[@]}" logs --tail=15 2>&1 | tail -n 120 || true
    fi
    "${compose[@]}" down --volumes --remove-orphans --timeout 20 >/dev/null 2>&1 || true
    docker image rm "$TIDEMARK_IMAGE" >/dev/null 2>&1 || true
    rm -rf "$SECRETS"
}
trap clear_up EXIT
trap 'exit 130' INT TERM
scripts/compose-secrets "$SECRETS" 2>/dev/null

step 'build the image'
builder=$(sed -n 's/^ARG RUST_IMAGE=//p' deploy/Dockerfile)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
if docker run --rm --entrypoint cargo "$builder" --version >/dev/null 2>&1; then
    DOCKER_BUILDKIT=1 docker build --quiet --file deploy/Dockerfile --build-arg REVISION="$revision" --tag "$TIDEMARK_IMAGE" .
else
    say "$builder has no cargo: this machine's cargo builds the program"
    cargo build --release --locked --package tidemark
    mkdir -p target/image
    objcopy --strip-debug "${CARGO_TARGET_DIR:-target}/release/tidemark" target/image/tidemark
    DOCKER_BUILDKIT=0 docker build --quiet --file deploy/Dockerfile --target prebuilt --build-arg REVISION="$revision" \
        --tag "$TIDEMARK_IMAGE" . 2>/dev/null
fi
base=$(sed -n 's/^ARG BASE_IMAGE=//p' deploy/Dockerfile)
size() { docker image inspect --format '{{.Size}}' "$1"; }
megabytes=$((($(size "$TIDEMARK_IMAGE") - $(size "$base")) / 1000000))
printf '    %s MB beside its base\n' "$megabytes"
((megabytes < 60)) || fail 1 'the image has grown to 60 MB and more beside its base'

up() { "${compose[@]}" up -d --no-build --scale "worker=$1" >"$SECRETS/up.log" 2>&1 || fail 1 "$(tail -n 5 "$SECRETS/up.log")"; }
ask() { "${compose[@]}" run --rm -T producer "$@" 2>"$SECRETS/ask.log" || fail 1 "tidemark $*: $(tail -n 3 "$SECRETS/ask.log")"; }
ledger() { "${compose[@]}" exec -T analytics psql -U postgres -d tidemark -qXAt -c "$1" 2>/dev/null; }
holds() { [[ $(ledger "$1") == t ]]; }
containers() { "${compose[@]}" ps -q "$1"; } # SERVICE
all_healthy() { # SERVICE COUNT
    local ids
    read -r -a ids <<<"$(containers "$1" | tr '\n' ' ')"
    ((${#ids[@]} == $2)) || return 1
    ! docker inspect --format '{{.State.Health.Status}}' "${ids[@]}" | grep -qv '^healthy$'
}
healthy() { # WORKERS
    local service
    for service in analytics rabbitmq chatwoot producer finalizer console; do
        wait_for 180 all_healthy "$service" 1 || fail 1 "$service does not become healthy"
    done
    wait_for 180 all_healthy worker "$1" || fail 1 "the $1 workers do not become healthy"
}

step 'bring it up with four workers'
up 4
sample_made() { [[ $(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$("${compose[@]}" ps -a -q sample 2>/dev/null || "${compose[@]}" ps -q sample)") == 'exited 0' ]]; }
wait_for 300 sample_made || fail 1 'the sample was not created'
healthy 4
for service in producer finalizer worker console; do
    for id in $(containers "$service"); do
        told=$(docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.Config.StopSignal}}' "$id")
        [[ $told == '65532:65532 true SIGTERM' ]] || fail 1 "$service: user, read-only root, stop signal: $told"
    done
done

step 'sign in to the console, and see that nobody else does'
console=http://127.0.0.1:$CONSOLE_PORT
status() { curl -s -o /dev/null -w '%{http_code}' -H "Origin: $console" "$@"; }
[[ $(status --data-urlencode 'user=admin' --data-urlencode "password=wrong" "$console/login") != 303 ]] || fail 1 'any password is right'
[[ $(status --cookie-jar "$SECRETS/jar" --data-urlencode 'user=admin' --data-urlencode "password=$(<"$SECRETS/console_password")" "$console/login") == 303 ]] || fail 1 'the password of compose-secrets does not sign in'
[[ $(status --cookie "$SECRETS/jar" "$console/") == 200 ]] || fail 1 'the console shows nothing after the sign-in'
[[ $(status "$console/") != 200 ]] || fail 1 'the console shows pages to everybody'

step 'sync three tenants'
for tenant in 1 2 3; do
    ask tenant add --id "$tenant" --name "Tenant $tenant" --account-id "$tenant" --chunk-size 25 >/dev/null
    ask inbox discover --tenant "$tenant" >/dev/null
done
ask sync --all --wait

ended='SELECT bool_and(finished_at IS NOT NULL) FROM etl_control'
done_chunks() { printf "SELECT count(*) > %s FROM etl_chunk c JOIN etl_control r ON r.id = c.run_id
    WHERE r.finished_at IS NULL AND c.status = 'done'" "$1"; }
full() {
    ask sync --all --full >/dev/null
    wait_for 60 holds "$(done_chunks 5)" || fail 1 'the full sync does not begin'
}
step 'scale workers 4 → 1 → 6 in the middle of a full sync'
full
up 1
wait_for 60 holds "$(done_chunks 20) OR ($ended)" || fail 1 'a single worker does not continue the sync'
up 6
wait_for 300 holds "$ended" || fail 1 'the full sync does not end'
healthy 6

step 'restart RabbitMQ and PostgreSQL in the middle of another'
full
"${compose[@]}" restart rabbitmq analytics >/dev/null 2>&1
wait_for 300 holds "$ended" || fail 1 'the full sync does not end after the restarts'
healthy 6

step 'resync from a one-shot container'
"${compose[@]}" run --rm -T sample sample traffic --count 300 --rate 0 >/dev/null 2>&1 || fail 1 'the sample traffic failed'
ask resync --tenant 2 --all-rows --wait
ask sync --all --wait >/dev/null

step 'every run a success, every row equal'
holds "SELECT bool_and(status = 'success') FROM etl_control" || fail 1 "$(ledger 'SELECT id, type, status, error_message FROM etl_control')"
ask verify --all
step 'take it down'
"${compose[@]}" down --volumes --timeout 40 >/dev/null 2>&1
[[ -z $(docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME") ]] || fail 1 'containers are left'
step 'passed'
