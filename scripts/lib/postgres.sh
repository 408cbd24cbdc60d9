# shellcheck shell=bash
# A private PostgreSQL in $DIR. Sourced, after process.sh and fetched.sh.

# The folder of the programs of the chosen PostgreSQL, or of the newest installed one, if it is 13 or newer.
postgres_bin() {
    local bin version
    bin=$(chosen_server postgres)
    [[ -z $bin ]] || { [[ -x $bin/bin/postgres ]] && printf '%s' "$bin/bin"; return; }
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
        chmod 700 data # initdb would do this
        "${AS[@]}" "$bin/pg_basebackup" --dbname "$(<standby-of)" --pgdata "$DIR/data" \
            --checkpoint fast --no-sync </dev/null >>log/postgres 2>&1 9>&- || return 1
        # --write-recovery-conf would write options that a server older than the program does not know
        printf "primary_conninfo = '%s'\n" "$(<standby-of)" >>data/postgresql.auto.conf
        "${AS[@]}" touch data/standby.signal
    elif [[ ! -e data/PG_VERSION ]]; then
        local segment=()
        [[ ! -s wal-segment ]] || segment=(--wal-segsize "$(<wal-segment)")
        "${AS[@]}" "$bin/initdb" --pgdata "$DIR/data" --username postgres --auth trust \
            --encoding UTF8 --locale C.UTF-8 --no-sync "${segment[@]}" </dev/null >>log/postgres 2>&1 9>&- || return 1
    fi
    [[ -s ports ]] || printf 'port=%s\n' "$(free_port)" >ports
    # shellcheck source=/dev/null
    . ./ports
    printf 'postgres://postgres@127.0.0.1:%s/postgres\n' "$port" >url
    # A benchmark's own settings: TIDEMARK_SERVICES_POSTGRES="shared_buffers=2GB fsync=on". The last value counts. A test's
    # own are in the file `settings`.
    local setting settings=()
    for setting in ${TIDEMARK_SERVICES_POSTGRES:-} $(cat settings 2>/dev/null); do settings+=(-c "$setting"); done
    postgres_tls
    # No fsync: the servers must survive their own crash, not one of the machine, and the kernel keeps written pages.
    # Commits stay synchronous: crash tests need them. No Unix socket: the folder's path may be too long for one.
    # Shared memory is in files, so that it is removed with the folder.
    launch postgres "${AS[@]}" "$bin/postgres" -D "$DIR/data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c max_connections=400 -c max_prepared_transactions=20 -c shared_buffers=128MB \
        -c dynamic_shared_memory_type=mmap -c fsync=off -c full_page_writes=off "${TLS[@]}" "${settings[@]}"
    wait_for 60 postgres_decided && postgres_ready
}

# Sets TLS, the arguments for encryption, and refuses unencrypted connections.
postgres_tls() {
    TLS=()
    [[ -e tls/server.pem ]] || return 0
    printf 'postgres://postgres@localhost:%s/postgres?sslmode=verify-full\n' "$port" >url
    TLS=(-c ssl=on -c "ssl_cert_file=$DIR/tls/server.pem" -c "ssl_key_file=$DIR/tls/server.key")
    local shown=
    [[ ! -e tls/clients.pem ]] || { TLS+=(-c "ssl_ca_file=$DIR/tls/clients.pem") shown=clientcert=verify-ca; }
    echo "hostssl all all 127.0.0.1/32 trust $shown" >data/pg_hba.conf
}

# Checks the server's own file, whose first line is its process id: the port may be another server's.
postgres_ready() {
    running postgres && [[ $(head -n 1 data/postmaster.pid 2>/dev/null) == "$(cut -d' ' -f1 postgres.pid)" ]] &&
        grep -qs '^ready' data/postmaster.pid
}
postgres_decided() { postgres_ready || ended postgres; }

# Limits a resource of the server and of its sessions, for those to come as well: prlimit's name, and a number or
# `unlimited`. Only the server's own user may do that.
postgres_limit() { # RESOURCE LIMIT
    local pid process
    run_as postgres
    read -r pid _ <postgres.pid
    for process in "$pid" $(<"/proc/$pid/task/$pid/children"); do
        "${AS[@]}" prlimit --pid "$process" "--$1=$2:" || [[ $process != "$pid" && ! -e /proc/$process ]] || return
    done
}

postgres_stop() { end postgres INT 60; }
postgres_crash() { end postgres QUIT 10; } # QUIT ends without a checkpoint; after a SIGKILL the backends would stay for a while
