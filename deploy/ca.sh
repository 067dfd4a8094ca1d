#!/bin/sh
# A site's own certificate authority: who may speak to its broker, and as whom.
#
#   sh deploy/ca.sh init [NAME]           makes the authority, once
#   sh deploy/ca.sh broker HOST...        certificate of the broker, for these host names or addresses
#   sh deploy/ca.sh device SITE DEVICE    certificate of a device: may write below cxr/v1/SITE/DEVICE/ only
#   sh deploy/ca.sh central               certificate of the central server: reads everything, acknowledges, commands
#   sh deploy/ca.sh revoke FILE.pem       takes a certificate back; then copy crl.pem to the broker and restart it
#
# $CXR_CA is its folder (default /etc/chexseg/ca); certificates and keys come into $CXR_CA/issued. The folder holds the
# authority's key: keep it on one machine and back it up. Certificates are good for
# $CXR_DAYS days (default 825). Needs openssl 3.
set -eu
umask 077

CXR_CA=${CXR_CA:-/etc/chexseg/ca}
days=${CXR_DAYS:-825}
# The configuration names it, even where it is of no use.
SAN=DNS:none
export CXR_CA SAN

fail() {
    echo "ca.sh: $*" >&2
    exit 1
}
usage() {
    sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p;}' "$0" >&2
    exit 2
}

# slug WHAT NAME: as topics take it (design §2). A slash would reach into another device's topics.
slug() {
    case $2 in
    '' | *[!a-z0-9-]*) fail "$1 '$2' is not of a-z, 0-9 and '-'" ;;
    esac
    [ ${#2} -le 32 ] || fail "$1 '$2' has more than 32 characters"
}

init() {
    [ ! -e "$CXR_CA/ca.key" ] || fail "there is an authority in $CXR_CA already"
    mkdir -p "$CXR_CA/issued" "$CXR_CA/certs"
    : >"$CXR_CA/index.txt"
    cat >"$CXR_CA/openssl.cnf" <<'CNF'
[ca]
default_ca = site
[site]
database = $ENV::CXR_CA/index.txt
new_certs_dir = $ENV::CXR_CA/certs
certificate = $ENV::CXR_CA/ca.pem
private_key = $ENV::CXR_CA/ca.key
rand_serial = yes
default_md = sha256
default_crl_days = 3650
policy = name
unique_subject = no
copy_extensions = none
[name]
commonName = supplied
[req]
distinguished_name = name_of_request
prompt = no
[name_of_request]
commonName = replaced
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
[broker]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = $ENV::SAN
authorityKeyIdentifier = keyid
CNF
    new_key "$CXR_CA/ca.key"
    openssl req -batch -new -x509 -config "$CXR_CA/openssl.cnf" -extensions authority -days 7300 -sha256 \
        -key "$CXR_CA/ca.key" -subj "/CN=$(escape "$1")" -out "$CXR_CA/ca.pem"
    revocations
    chmod 644 "$CXR_CA/ca.pem"
    echo "made the authority '$1' in $CXR_CA"
}

new_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

# In openssl's -subj a slash begins the next part of a name.
escape() {
    printf %s "$1" | sed 's/[\\/+]/\\&/g'
}

revocations() {
    openssl ca -batch -config "$CXR_CA/openssl.cnf" -gencrl -out "$CXR_CA/crl.pem" 2>/dev/null ||
        fail "the list of revoked certificates cannot be written to $CXR_CA/crl.pem"
    chmod 644 "$CXR_CA/crl.pem"
}

# issue FILE COMMON-NAME EXTENSIONS
issue() {
    [ -e "$CXR_CA/ca.key" ] || fail "there is no authority in $CXR_CA: run '$0 init' first, or set CXR_CA"
    file=$CXR_CA/issued/$1
    if [ -e "$file.pem" ]; then
        # A renewal. The old certificate stays good until it ends or is revoked; openssl keeps it in certs/.
        echo "ca.sh: $file.pem is replaced" >&2
    fi
    new_key "$file.key.new"
    openssl req -batch -new -config "$CXR_CA/openssl.cnf" -key "$file.key.new" -subj "/CN=$(escape "$2")" \
        -out "$file.csr"
    openssl ca -batch -config "$CXR_CA/openssl.cnf" -extensions "$3" -days "$days" -notext -in "$file.csr" \
        -out "$file.pem" 2>"$file.log" || {
        cat "$file.log" >&2
        fail "no certificate for '$2'"
    }
    mv "$file.key.new" "$file.key"
    rm "$file.csr" "$file.log"
    chmod 644 "$file.pem"
    echo "$file.pem and $file.key, for '$2', $days days"
}

[ $# -gt 0 ] || usage
command=$1
shift
case $command in
init)
    [ $# -le 1 ] || usage
    init "${1:-CheXseg site authority}"
    ;;
device)
    [ $# = 2 ] || usage
    slug site "$1"
    slug device "$2"
    issue "$1.$2" "$1/$2" client
    ;;
central)
    [ $# = 0 ] || usage
    issue central central client
    ;;
broker)
    [ $# -gt 0 ] || usage
    SAN=
    for host; do
        case $host in
        '' | *[!A-Za-z0-9.:-]*) fail "'$host' is no host name or address" ;;
        *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) SAN=$SAN,IP:$host ;;
        *) SAN=$SAN,DNS:$host ;;
        esac
    done
    SAN=${SAN#,}
    issue broker "$1" broker
    ;;
revoke)
    [ $# = 1 ] || usage
    openssl ca -batch -config "$CXR_CA/openssl.cnf" -revoke "$1" 2>/dev/null ||
        fail "'$1' is no certificate of the authority in $CXR_CA, or is revoked already"
    revocations
    echo "revoked; now copy $CXR_CA/crl.pem to the broker and restart it"
    ;;
*) usage ;;
esac
