# Sourced by the other scripts here: what they share about a Debian-like machine.

say() { printf 'setup: %s\n' "$*" >&2; }

# Runs a command as root: directly, or by sudo where that asks no password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# Installs Debian packages; fails where there is no apt-get or no right to use it. What apt-get
# prints is shown only when it fails.
apt_install() {
    local output
    command -v apt-get >/dev/null || return 1
    as_root true || return 1
    say "installing $* with apt-get"
    output=$(as_root apt-get update -qq 2>&1) || say "apt-get update failed; trying with the package lists at hand"
    output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold "$@" 2>&1) || { printf '%s\n' "$output" >&2; return 1; }
}
