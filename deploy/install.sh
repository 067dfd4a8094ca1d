#!/bin/sh
# Installs the parts of CheXseg Edge on this machine, from a checkout in which `cargo build --release -p edge-agent` ran.
#
#   sudo sh deploy/install.sh broker HOST...            mosquitto for a site, reached by these names or addresses
#   sudo sh deploy/install.sh central HOST              the central server, whose broker is HOST
#   sudo sh deploy/install.sh device SITE DEVICE HOST   a device beside an X-ray unit, whose broker is HOST
#
# Each may be run again: programs, units, model and certificates are renewed, configuration files stay as they are. Keys
# come from the authority in $CXR_CA (default /etc/chexseg/ca; `broker` makes it where there is none). Where the authority
# is on another machine, put ca.pem, NAME.pem and NAME.key into /etc/chexseg first (NAME: central, or SITE.DEVICE), and
# they are used as they are. DESTDIR installs below another root and starts nothing; CXR_BIN names the folder of the
# programs (default target/release).
set -eu
cd "$(dirname "$0")/.."

root=${DESTDIR:-}
bin=${CXR_BIN:-target/release}
CXR_CA=${CXR_CA:-$root/etc/chexseg/ca}
export CXR_CA

fail() {
    echo "install.sh: $*" >&2
    exit 1
}
usage() {
    sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p;}' "$0" >&2
    exit 2
}
say() { echo "== $*"; }

# put MODE GROUP SOURCE TARGET
put() {
    install -D -m "$1" "$3" "$root$4"
    [ -n "$root" ] || chown "root:$2" "$4"
}

# system COMMAND...: what only a running system wants.
system() {
    [ -n "$root" ] || "$@"
}

program() {
    [ -x "$bin/$1" ] || fail "there is no $bin/$1: run 'cargo build --release -p edge-agent' first, or set CXR_BIN"
    put 755 root "$bin/$1" "/usr/bin/$1"
}

unit() {
    put 644 root deploy/systemd/chexseg.sysusers /usr/lib/sysusers.d/chexseg.conf
    put 644 root "deploy/systemd/$1.service" "/etc/systemd/system/$1.service"
    system systemd-sysusers /usr/lib/sysusers.d/chexseg.conf
    system systemctl daemon-reload
}

# credentials GROUP NAME COMMAND...: certificate and key of NAME, for GROUP to read.
credentials() {
    group=$1 name=$2
    shift 2
    if [ -e "$CXR_CA/ca.key" ]; then
        sh deploy/ca.sh "$@"
        put 644 root "$CXR_CA/ca.pem" /etc/chexseg/ca.pem
        put 644 root "$CXR_CA/issued/$name.pem" "/etc/chexseg/$name.pem"
        put 640 "$group" "$CXR_CA/issued/$name.key" "/etc/chexseg/$name.key"
        return
    fi
    for file in ca.pem "$name.pem" "$name.key"; do
        [ -e "$root/etc/chexseg/$file" ] ||
            fail "there is neither an authority in $CXR_CA nor a file /etc/chexseg/$file: copy it from where the authority is"
    done
    system chown "root:$group" "/etc/chexseg/$name.key"
    chmod 640 "$root/etc/chexseg/$name.key"
}

# configuration EXAMPLE TARGET SED-COMMAND...: kept where there is one.
configuration() {
    example=$1 target=$2
    shift 2
    if [ -e "$root$target" ]; then
        say "$target stays as it is"
        return
    fi
    mkdir -p "$root${target%/*}"
    sed "$@" "$example" >"$root$target"
    chmod 644 "$root$target"
}

# For the keys of example files: a value in quotes, and [mqtt.tls] without its comment signs.
value() { printf 's|^%s = ".*"|%s = "%s"|' "$1" "$1" "$2"; }
tls() {
    # Other sections have certificates too.
    printf '%s\n' 's|^port = 1883|port = 8883|' '/^# \[mqtt.tls\]/,/^$/{' 's|^# ||' \
        "s|^cert = .*|cert = \"/etc/chexseg/$1.pem\"|" "s|^key = .*|key = \"/etc/chexseg/$1.key\"|" '}'
}

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root"
[ $# -gt 0 ] || usage
part=$1
shift
# Others than root read what is there; keys have modes of their own.
umask 022
install -d -m 755 "$root/etc/chexseg"
case $part in
broker)
    [ $# -gt 0 ] || usage
    [ -n "$root" ] || command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] ||
        fail "mosquitto is not there: apt-get install mosquitto"
    [ -e "$CXR_CA/ca.key" ] || sh deploy/ca.sh init
    sh deploy/ca.sh broker "$@"
    dir=/etc/mosquitto/chexseg
    for file in ca.pem crl.pem issued/broker.pem; do
        put 644 root "$CXR_CA/$file" "$dir/${file#issued/}"
    done
    put 640 mosquitto "$CXR_CA/issued/broker.key" $dir/broker.key
    put 644 root deploy/mosquitto/acl $dir/acl
    conf=/etc/mosquitto/mosquitto.conf
    if [ -e "$root$conf" ] && ! cmp -s deploy/mosquitto/mosquitto.conf "$root$conf" && [ ! -e "$root$conf.before-chexseg" ]; then
        cp -p "$root$conf" "$root$conf.before-chexseg"
        say "the former $conf is kept as $conf.before-chexseg"
    fi
    put 644 root deploy/mosquitto/mosquitto.conf $conf
    system systemctl enable mosquitto
    system systemctl restart mosquitto
    say "the broker listens on port 8883"
    ;;
central)
    [ $# = 1 ] || usage
    program cxr-central
    unit cxr-central
    credentials chexseg-central central central
    # Without a PACS: whoever has one adds it.
    configuration deploy/central.example.toml /etc/chexseg/central.toml -e '/^\[pacs\]/,/^$/d' -e "$(value host "$1")" \
        -e "$(tls central)"
    system systemctl enable cxr-central
    system systemctl restart cxr-central
    say "see: journalctl -u cxr-central; cxr-central watch --config /etc/chexseg/central.toml"
    ;;
device)
    [ $# = 3 ] || usage
    program edge-agent
    unit edge-agent
    for model in models/*/; do
        (cd "$model" && find . -type f) | while read -r file; do
            put 644 root "$model$file" "/usr/share/chexseg/$model$file"
        done
    done
    credentials chexseg "$1.$2" device "$1" "$2"
    configuration deploy/agent.example.toml /etc/chexseg/agent.toml -e "$(value site "$1")" -e "$(value device "$2")" \
        -e "$(value host "$3")" -e "$(tls "$1.$2")" -e 's|^require_ack = false|require_ack = true|' \
        -e 's|^# \[http\]|[http]|' -e 's|^# listen = |listen = |'
    system install -d -m 2775 -o root -g chexseg /srv/radiographs
    system systemctl enable edge-agent
    system systemctl restart edge-agent
    say "see: journalctl -u edge-agent; curl http://127.0.0.1:9464/readyz"
    ;;
*) usage ;;
esac
