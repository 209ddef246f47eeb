#!/bin/sh
# Lays out in FOLDER what the container image holds: `root` is the system's, `data` the registry's own.
#
#   image/layout.sh BINARY FOLDER
set -eu
binary=$1
root=$2/root
data=$2/data

install -D -m 0755 "$binary" "$root/usr/local/bin/wharfinger"
# The loader and the libraries that the binary is linked with. There is no shell, and nothing else that could be run.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 0755 "$(readlink -f "$library")" "$root$library"
done
# The authorities by which issuers' servers are verified.
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$data/var/lib/wharfinger"
chmod 0750 "$data/var/lib/wharfinger"
