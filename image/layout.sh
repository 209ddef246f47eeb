#!/bin/sh
# Creates the content of the container image in FOLDER: `root` for the system, `data` for the registry.
#
#   image/layout.sh BINARY FOLDER
set -eu
binary=$1
root=$2/root
data=$2/data

install -D -m 0755 "$binary" "$root/usr/local/bin/wharfinger"
# The loader and the libraries that the binary is linked with. There is no shell and no other program.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 0755 "$(readlink -f "$library")" "$root$library"
done
# The authorities that verify issuers' servers.
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$data/var/lib/wharfinger"
chmod 0750 "$data/var/lib/wharfinger"
