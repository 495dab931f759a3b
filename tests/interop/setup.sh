#!/bin/sh
# Installs the foreign stacks of the interop tests: Chromium from the distribution's packages, and
# aiortc in a Python environment of its own under target/. Quick when all is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target
venv=$target/interop-venv
stamp=$venv/requirements.installed

say() {
    printf 'interop setup: %s\n' "$1" >&2
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "'$*' needs root, and there is no sudo; install it by hand"
        return 1
    fi
}

apt_install() {
    if ! command -v apt-get >/dev/null; then
        say "'$*' is missing and this is no Debian or Ubuntu; install it by hand"
        return 1
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

has_browser() {
    for name in chromium google-chrome google-chrome-stable chromium-browser; do
        if command -v "$name" >/dev/null; then
            return 0
        fi
    done
    return 1
}

if ! has_browser; then
    say "installing Chromium"
    apt_install chromium
fi

if ! command -v python3 >/dev/null; then
    say "installing Python"
    apt_install python3 python3-venv
fi

if ! cmp -s "$here/requirements.txt" "$stamp"; then
    say "installing aiortc in $venv"
    mkdir -p "$target"
    if ! python3 -m venv --clear "$venv" 2>/dev/null; then
        apt_install python3-venv
        python3 -m venv --clear "$venv"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
        --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$stamp"
fi
