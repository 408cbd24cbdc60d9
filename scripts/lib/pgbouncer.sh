# shellcheck shell=bash
# A private PgBouncer in $DIR, before the PostgreSQL whose URL is in $DIR/pooler-of. Sourced, after process.sh.

pgbouncer_bin() { command -v pgbouncer || { [[ -x /usr/sbin/pgbouncer ]] && printf /usr/sbin/pgbouncer; }; }

pgbouncer_boot() {
    local bin port
    bin=$(pgbouncer_bin) || fail 69 'pgbouncer is missing: scripts/install-services installs it'
    [[ $(<pooler-of) =~ ^[a-z]+://([^:/@]+)(:[^@]*)?@([^:/]+):([0-9]+) ]] || return 1
    run_as postgres
    [[ -s ports ]] || printf 'port=%s\n' "$(free_port)" >ports
    # shellcheck source=/dev/null
    . ./ports
    printf 'postgres://%s@127.0.0.1:%s/postgres\n' "${BASH_REMATCH[1]}" "$port" >url
    printf '"%s" ""\n' "${BASH_REMATCH[1]}" $(cat pool-users 2>/dev/null) >users
    # round_robin: two transactions of one client hardly ever get the same server process
    cat >pgbouncer.ini <<INI
[databases]
* = host=${BASH_REMATCH[3]} port=${BASH_REMATCH[4]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $DIR/users
admin_users = ${BASH_REMATCH[1]}
pool_mode = transaction
default_pool_size = $(cat pool-size 2>/dev/null || echo 10)
server_round_robin = 1
server_login_retry = 1
max_client_conn = 500
INI
    launch pgbouncer "${AS[@]}" "$bin" "$DIR/pgbouncer.ini"
    wait_for 30 pgbouncer_decided && pgbouncer_ready
}

pgbouncer_ready() { running pgbouncer && port_listens "$port" && grep -qs 'process up' log/pgbouncer; }
pgbouncer_decided() { pgbouncer_ready || ended pgbouncer; }

pgbouncer_stop() { end pgbouncer TERM 10; }
pgbouncer_crash() { end pgbouncer KILL 10; }
