#!/usr/bin/env bash
# Makes what compose.yaml reads from ./secrets: a certificate authority, Mosquitto's certificate, and
# one random password for each user. Needs openssl 3. Names of this machine that clients use to reach
# the broker are given as arguments, such as broker.plant1.example.
set -euo pipefail
umask 077
directory="${WELDFUSION_SECRETS:-$(dirname "$0")/secrets}"
if [ -e "$directory" ]; then
  echo "$directory exists; move it away to make new ones" >&2
  exit 1
fi
mkdir -p "$directory"
cd "$directory"

names="DNS:mosquitto,DNS:localhost,IP:127.0.0.1"
for name in "$@"; do names="$names,DNS:$name"; done

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=weldfusion CA" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=mosquitto" \
  -keyout mosquitto.key -out mosquitto.csr 2>/dev/null
openssl x509 -req -in mosquitto.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 \
  -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") \
  -out mosquitto.crt 2>/dev/null
rm mosquitto.csr ca.srl

# Mosquitto's own format: PBKDF2 with HMAC-SHA-512, 101 rounds (the passwords have 256 random bits).
for user in worker station mes simulator; do
  openssl rand -hex 32 | tr -d '\n' > "$user.password"
  salt="$(openssl rand -base64 12)"
  hash="$(openssl kdf -binary -keylen 64 -kdfopt digest:SHA512 -kdfopt iter:101 \
    -kdfopt "hexsalt:$(printf '%s' "$salt" | base64 -d | od -An -v -tx1 | tr -d ' \n')" \
    -kdfopt "pass:$(cat "$user.password")" PBKDF2 | base64 -w0)"
  printf '%s:$7$101$%s$%s\n' "$user" "$salt" "$hash"
done > passwords

# Containers read single files under user ids of their own; the directory keeps everybody else out.
chmod 444 ca.crt mosquitto.crt mosquitto.key passwords ./*.password
echo "made $directory; give ca.crt and one .password to each client"
