# shellcheck shell=bash
# Processes and ports of private servers. Sourced; $DIR is the folder of one server.

say() { printf 'tidemark: %s\n' "$*" >&2; }
fail() { # EXIT_CODE MESSAGE
    say "$2"
    exit "$1"
}

# The start time of a process, in clock ticks since boot. Fails when the process is gone or a zombie. Under a container's
# init a zombie can stay for a while, and `kill -0` still succeeds.
start_time() { # PID
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -r -a stat <<<"${stat##*) }" # the process's name before it is in brackets and may have any characters
    [[ ${stat[0]} != [ZX] ]] && printf '%s' "${stat[19]}"
}

# Starts a server as DIR/NAME.pid, with its output in DIR/log/NAME. Every step up to the server itself execs, so the
# recorded id is the server's. It is on disk before the server starts, so an interrupted start can still be ended.
# Descriptor 9 belongs to with-services.
launch() { # NAME COMMAND…
    local name=$1
    shift
    rm -f "$DIR/$name.pid"
    (
        exec 9>&-
        pid=$BASHPID
        printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$DIR/$name.pid"
        ulimit -Sn 65536 2>/dev/null || true # Erlang sizes its tables by this limit, and containers may set a billion
        exec setsid "$@"
    ) </dev/null >>"$DIR/log/$name" 2>&1 &
    wait_for 10 test -s "$DIR/$name.pid"
}

# True while DIR/NAME.pid is the process that was started. Ids are reused, so the start time is compared too.
running() { # NAME
    local pid started
    { read -r pid started <"$DIR/$1.pid"; } 2>/dev/null && [[ $(start_time "$pid") == "$started" ]]
}
ended() { ! running "$1"; }

# Signals a server and waits until it is gone. SIGKILL, which is also sent after the time limit, goes to its whole group:
# a server that is still starting may have helpers that do not notice its end.
end() { # NAME SIGNAL SECONDS
    local pid
    running "$1" || return 0
    read -r pid _ <"$DIR/$1.pid"
    if [[ $2 != KILL ]]; then
        kill -s "$2" "$pid" 2>/dev/null || true
        wait_for "$3" ended "$1" && return
    fi
    kill -s KILL -- "$pid" "-$pid" 2>/dev/null || true
    wait_for 10 ended "$1"
}

wait_for() { # SECONDS CONDITION…
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.05
    done
}

# Ports are looked up in the kernel's table: connecting to a port would disturb another user's server.
port_in_use() { grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf '%04X' "$1") " /proc/net/tcp /proc/net/tcp6; }
port_listens() { grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf '%04X' "$1") [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6; }

# A free port below the range that the kernel gives to clients.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && port_in_use "$port"; do :; done
    printf '%s' "$port"
}

# The user of root's servers: PostgreSQL refuses root. Where no package has made the server's own user, it is nobody.
server_user() { # NAME
    if id -u "$1" >/dev/null 2>&1; then printf '%s' "$1"; else printf nobody; fi
}

# Sets AS, a command prefix for a clean environment and, if we are root, for another user.
run_as() { # USER NAME=VALUE…
    local user
    user=$(server_user "$1")
    shift
    AS=(env -i PATH="$PATH" LANG=C.UTF-8 HOME="$DIR/home" "$@")
    ((EUID != 0)) || AS+=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
}
