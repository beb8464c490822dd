#!/bin/sh
# Installs what is missing of the groups named, and nothing else:
#   services   PostgreSQL with PostGIS, Redis, Node.js with npm, Python's venv
#   browser    Chromium, for the tests of the viewer
#   libraries  what the Python wheels expect of the system (in a container)
#   compiler   a C compiler, which Triton's kernels are launched through (on a GPU)
# No system database is made, started, stopped or changed: the stack runs its own.
set -eu

missing=""
need() { missing="$missing $*"; }
has() { command -v "$1" >/dev/null 2>&1; }
here() { ls "$@" >/dev/null 2>&1; }

want() {
    case "$1" in
    services)
        here /usr/lib/postgresql/*/bin/postgres && here /usr/share/postgresql/*/extension/postgis.control ||
            need postgis-of-this-release
        has redis-server || need redis-server
        has node || need nodejs
        has npm || need npm
        python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
        ;;
    browser) has chromium || need chromium ;;
    libraries)
        [ -e /usr/share/zoneinfo/UTC ] || need tzdata
        ldconfig -p | grep -q libexpat.so.1 || need libexpat1
        ;;
    compiler) has gcc || need gcc libc6-dev ;;
    *) echo "$0: no group $1" >&2 && exit 2 ;;
    esac
}

for group in "$@"; do want "$group"; done
[ -n "$missing" ] || exit 0

has apt-get || { echo "please install:$missing" >&2 && exit 1; }
sudo=""
if [ "$(id -u)" != 0 ]; then
    has sudo || { echo "please install, as root:$missing" >&2 && exit 1; }
    sudo="sudo"
fi

echo "installing:$missing"
$sudo apt-get update -qq
case "$missing" in
*postgis-of-this-release*)
    # postgresql depends on this release's version, and PostGIS is packaged for that
    version=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p')
    missing=$(echo "$missing" | sed "s/postgis-of-this-release/postgresql-$version postgresql-$version-postgis-3/")
    ;;
esac

# Debian starts what it installs. It shall not: no `main` cluster is created, no service started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    trap '$sudo rm -f "$policy"' EXIT INT TERM
fi
created=/etc/postgresql-common/createcluster.conf
if [ ! -e "$created" ]; then
    $sudo mkdir -p "$(dirname "$created")"
    echo "create_main_cluster = false" | $sudo tee "$created" >/dev/null
fi
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-confold $missing >/dev/null
case "$missing" in
*redis-server*)
    if has systemctl; then disable="systemctl disable redis-server"; else disable="update-rc.d redis-server disable"; fi
    $sudo $disable >/dev/null 2>&1 || true
    ;;
esac
