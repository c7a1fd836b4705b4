#!/bin/sh
# install.sh POLICY SERVICES PACKAGE...: installs Debian packages as root, and neither starts the services that come
# with them nor has them started at boot. POLICY is /usr/sbin/policy-rc.d, which says what a package may start
# (invoke-rc.d(8)): it is there for the time of the installation, unless somebody else has one that says the same.
set -eu
policy=$1 services=$2
shift 2
mark='# Of cargo xtask, for as long as it installs packages.'

is_ours() { [ -f "$policy" ] && grep -qxF "$mark" "$policy"; }
remove_ours() { if is_ours; then rm -f "$policy"; fi; }

# One at a time, or this one's policy would go with that one's. A folder can be locked without a trace.
exec 9<"${policy%/*}"
flock 9

# One that was killed may have left its own.
remove_ours
if [ -e "$policy" ] || [ -L "$policy" ]; then
    for service in $services; do
        status=0
        "$policy" "$service" start >/dev/null 2>&1 || status=$?
        if [ "$status" != 101 ]; then
            echo "$policy lets $service be started: install $* by hand, or have it refuse with 101 meanwhile" >&2
            exit 1
        fi
    done
else
    trap remove_ours EXIT
    trap 'exit 130' HUP INT TERM
    (set -C && printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy")
    chmod 755 "$policy"
fi

DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "$@" 9<&-
for service in $services; do
    systemctl --quiet disable "$service" 2>/dev/null || update-rc.d "$service" disable
done
