# shellcheck shell=bash
# The servers that scripts/fetch-server has unpacked. Sourced.
#
# TIDEMARK_SERVICES_POSTGRES_VERSION and TIDEMARK_SERVICES_RABBITMQ_VERSION choose versions, such as 18 and 4.3. Without
# them the machine's own servers are used.

# Root's servers run as other users, who cannot enter root's folders.
servers_cache() {
    local home=${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}
    ((EUID != 0)) || home=/var/cache
    printf '%s' "${TIDEMARK_SERVICES_CACHE:-$home/tidemark-services}"
}

chosen_version() { # KIND
    local name=TIDEMARK_SERVICES_${1^^}_VERSION
    printf '%s' "${!name:-}"
}

# The folder of the chosen server, or nothing when the machine's own is used.
chosen_server() { # KIND
    local version
    version=$(chosen_version "$1")
    [[ -z $version ]] || printf '%s/%s-%s' "$(servers_cache)" "$1" "$version"
}
