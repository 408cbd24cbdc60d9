# shellcheck shell=bash
# A private RabbitMQ with its management plugin in $DIR. Sourced, after process.sh and fetched.sh.

# The folder with the own scripts of the chosen server, or of the installed one. Debian's /usr/sbin/rabbitmq-server is a
# wrapper with fixed paths.
rabbitmq_bin() {
    local server
    server=$(chosen_server rabbitmq)
    [[ -z $server ]] || { server=$(readlink -e "$server/usr/lib/rabbitmq/bin/rabbitmq-server") && dirname "$server"; return; }
    server=$(readlink -e /usr/lib/rabbitmq/bin/rabbitmq-server || readlink -e "$(command -v rabbitmq-server)") || return 1
    command -v epmd >/dev/null && dirname "$server"
}

rabbitmq_boot() {
    local bin amqp_port management_port distribution_port epmd_port node
    bin=$(rabbitmq_bin) || return 1
    rabbitmq_configure
    # Without a port mapper the node would start its own one, a daemon that outlives the node.
    if [[ ! -e cluster-of ]]; then
        running epmd || launch epmd "${AS[@]}" epmd -port "$epmd_port" -address 127.0.0.1
        wait_for 10 port_listens "$epmd_port" && running epmd || return 1
    fi
    launch node "${AS[@]}" "$bin/rabbitmq-server"
    wait_for 120 rabbitmq_decided && rabbitmq_ready || return 1
    [[ ! -e cluster-of || -e joined ]] || rabbitmq_join
}

# Joins the cluster of the node in the folder that DIR/cluster-of names.
rabbitmq_join() {
    local first
    first=$(sed -n 's/^node=//p' "$(<cluster-of)/ports")
    rabbitmq_ctl stop_app && rabbitmq_ctl join_cluster "$first" && rabbitmq_ctl start_app && touch joined
}

# The first frame of an AMQP connection has the node's name, with a host that the node chooses: it shows that the port is
# this node's. With TLS only the listening port can be checked.
rabbitmq_ready() {
    [[ ! -e tls/server.pem ]] || { running node && port_listens "$amqp_port" && port_listens "$management_port"; return; }
    running node && port_listens "$amqp_port" && (
        exec 3<>"/dev/tcp/127.0.0.1/$amqp_port"
        printf 'AMQP\0\0\11\1' >&3
        timeout 2 dd bs=4096 count=1 <&3 | grep -qaF "${node%@*}@"
    ) 2>/dev/null
}
rabbitmq_decided() { rabbitmq_ready || ended node; }

rabbitmq_stop() { end node TERM 60 && end epmd TERM 10; }
rabbitmq_crash() { end node KILL 10 && end epmd TERM 10; }
rabbitmq_ctl() { # ARGUMENTS…
    local bin amqp_port management_port distribution_port epmd_port node
    bin=$(rabbitmq_bin) || return 1
    rabbitmq_configure
    "${AS[@]}" "$bin/rabbitmqctl" --node "$node" "$@"
}

# The listeners, as lines of the node's configuration.
rabbitmq_listeners() {
    if [[ ! -e tls/server.pem ]]; then
        echo "listeners.tcp.1 = 127.0.0.1:$amqp_port"
        return
    fi
    local key
    printf '%s\n' 'listeners.tcp = none' "listeners.ssl.1 = 127.0.0.1:$amqp_port"
    for key in cert:server.pem key:server.key cacert:clients.pem; do
        [[ ! -e tls/${key#*:} ]] || echo "ssl_options.${key%:*}file = $DIR/tls/${key#*:}"
    done
    [[ ! -e tls/clients.pem ]] || printf 'ssl_options.%s\n' 'verify = verify_peer' 'fail_if_no_peer_cert = true'
}

# Sets the variables of DIR/ports and AS, and writes the node's files. An existing node keeps its ports and its name, and
# an existing advanced.config is kept.
rabbitmq_configure() {
    [[ -s ports ]] || printf '%s=%s\n' >ports \
        amqp_port "$(free_port)" management_port "$(free_port)" \
        distribution_port "$(free_port)" epmd_port "$(free_port)" node "tidemark-$$-$RANDOM@localhost"
    # shellcheck source=/dev/null
    . ./ports
    if [[ -e cluster-of ]]; then
        # nodes of a cluster find each other by one port mapper, and trust each other by one cookie
        epmd_port=$(sed -n 's/^epmd_port=//p' "$(<cluster-of)/ports")
        [[ -e home/.erlang.cookie ]] || cp -p "$(<cluster-of)/home/.erlang.cookie" home/
    fi
    printf 'amqp://guest:guest@127.0.0.1:%s/%%2f\n' "$amqp_port" >url
    [[ ! -e tls/server.pem ]] || printf 'amqps://guest:guest@localhost:%s/%%2f\n' "$amqp_port" >url
    printf 'http://guest:guest@127.0.0.1:%s\n' "$management_port" >management-url
    echo '[rabbitmq_management].' >enabled_plugins
    [[ -e advanced.config ]] || echo '[].' >advanced.config
    cat >rabbitmq.conf <<EOF
$(rabbitmq_listeners)
management.tcp.ip = 127.0.0.1
management.tcp.port = $management_port
log.console = false
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
EOF
    # Neither the caller's RABBITMQ_* and ERL_* variables reach the node, nor /etc/rabbitmq.
    # RUNNING_UNDER_SYSTEMD makes the start script exec the node instead of waiting for it.
    local chosen PATH=$PATH
    chosen=$(chosen_server rabbitmq)
    [[ -z $chosen ]] || PATH=$chosen/usr/bin:$PATH # its Erlang
    run_as rabbitmq \
        ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP_SECONDS=0 RUNNING_UNDER_SYSTEMD=true \
        RABBITMQ_CONF_ENV_FILE="$DIR/none" RABBITMQ_NODENAME="$node" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_NODE_PORT="$amqp_port" RABBITMQ_DIST_PORT="$distribution_port" \
        RABBITMQ_MNESIA_BASE="$DIR/data" RABBITMQ_LOG_BASE="$DIR/log" RABBITMQ_PID_FILE="$DIR/data/pid" \
        RABBITMQ_CONFIG_FILE="$DIR/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$DIR/advanced.config" \
        RABBITMQ_GENERATED_CONFIG_DIR="$DIR/data/generated" RABBITMQ_ENABLED_PLUGINS_FILE="$DIR/enabled_plugins" \
        RABBITMQ_FEATURE_FLAGS_FILE="$DIR/data/feature_flags" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
}
