# shellcheck shell=bash
# A private PostgreSQL in $DIR. Sourced, after process.sh.

# The folder with the programs of the newest PostgreSQL server here, if that is 13 or newer.
postgres_bin() {
    local bin version
    for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) "$(pg_config --bindir 2>/dev/null)"; do
        version=$("$bin/postgres" --version 2>/dev/null) || continue
        version=${version#*) }
        ((${version%%[!0-9]*} >= 13)) && printf '%s' "$bin" && return
    done
    return 1
}

postgres_boot() {
    local bin port
    bin=$(postgres_bin) || return 1
    run_as postgres
    if [[ ! -e data/PG_VERSION && -s standby-of ]]; then
        chmod 700 data # which initdb does by itself
        "${AS[@]}" "$bin/pg_basebackup" --dbname "$(<standby-of)" --pgdata "$DIR/data" --write-recovery-conf \
            --checkpoint fast --no-sync </dev/null >>log/postgres 2>&1 9>&- || return 1
    elif [[ ! -e data/PG_VERSION ]]; then
        "${AS[@]}" "$bin/initdb" --pgdata "$DIR/data" --username postgres --auth trust \
            --encoding UTF8 --locale C.UTF-8 --no-sync </dev/null >>log/postgres 2>&1 9>&- || return 1
    fi
    [[ -s ports ]] || printf 'port=%s\n' "$(free_port)" >ports
    # shellcheck source=/dev/null
    . ./ports
    printf 'postgres://postgres@127.0.0.1:%s/postgres\n' "$port" >url
    # What a benchmark wants otherwise: TIDEMARK_SERVICES_POSTGRES="shared_buffers=2GB fsync=on", the last word wins.
    local setting settings=()
    for setting in ${TIDEMARK_SERVICES_POSTGRES:-}; do settings+=(-c "$setting"); done
    postgres_tls
    # No fsync: these servers have to survive a crash of theirs, for which the kernel keeps what was written,
    # and not one of the machine. Commits stay synchronous: crash tests count on them. No Unix socket: the
    # folder's path may be too long for one. Shared memory in files, so that it goes with the folder.
    launch postgres "${AS[@]}" "$bin/postgres" -D "$DIR/data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c max_connections=400 -c max_prepared_transactions=20 -c shared_buffers=128MB \
        -c dynamic_shared_memory_type=mmap -c fsync=off -c full_page_writes=off "${TLS[@]}" "${settings[@]}"
    wait_for 60 postgres_decided && postgres_ready
}

# Sets TLS, the arguments for encryption, and lets nobody in without it.
postgres_tls() {
    TLS=()
    [[ -e tls/server.pem ]] || return 0
    printf 'postgres://postgres@localhost:%s/postgres?sslmode=verify-full\n' "$port" >url
    TLS=(-c ssl=on -c "ssl_cert_file=$DIR/tls/server.pem" -c "ssl_key_file=$DIR/tls/server.key")
    local shown=
    [[ ! -e tls/clients.pem ]] || { TLS+=(-c "ssl_ca_file=$DIR/tls/clients.pem") shown=clientcert=verify-ca; }
    echo "hostssl all all 127.0.0.1/32 trust $shown" >data/pg_hba.conf
}

# By the server's own file, whose first line is its process id: the port may answer for someone else.
postgres_ready() {
    running postgres && [[ $(head -n 1 data/postmaster.pid 2>/dev/null) == "$(cut -d' ' -f1 postgres.pid)" ]] &&
        grep -qs '^ready' data/postmaster.pid
}
postgres_decided() { postgres_ready || ended postgres; }

postgres_stop() { end postgres INT 60; }
postgres_crash() { end postgres QUIT 10; } # no checkpoint is made; after a SIGKILL the backends would linger
