#!/bin/bash
# Shows smarthost at work, with another smarthost as the relay: one message
# goes in by sendmail, one by SMTP, both go to the relay under TLS and after a
# login, and the relay, `provider = capture`, writes each to a file.
#
#   tests/demo.sh [PROGRAM]        (./smarthost by default)
set -eu

program=$(realpath "${1:-$(dirname "$0")/../smarthost}")
work=$(mktemp -d)
daemons=()
clean_up() {
	[ ${#daemons[@]} -eq 0 ] || kill "${daemons[@]}" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT

fail() {
	echo "demo: $1" >&2
	tail -n 100 "$work"/*.log >&2 || true
	exit 1
}

heading() {
	printf '\n--- %s\n' "$1"
}

# Debian's ca-certificates brings openssl with it. An authority for a month, and what it certifies for the relay.
make_certificates() {
	cat >"$work/openssl.cnf" <<-END
	[req]
	distinguished_name = name
	prompt = no
	[name]
	CN = relay.example
	[authority]
	basicConstraints = critical,CA:TRUE
	[relay]
	basicConstraints = critical,CA:FALSE
	subjectAltName = DNS:relay.example
	END
	{
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
		    -nodes -days 30 -config "$work/openssl.cnf" -subj "/CN=Demo" \
		    -extensions authority -keyout "$work/ca.key" \
		    -out "$work/ca.pem" &&
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
		    -nodes -config "$work/openssl.cnf" \
		    -keyout "$work/relay.key" -out "$work/relay.csr" &&
		openssl x509 -req -in "$work/relay.csr" -days 30 \
		    -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial \
		    -extfile "$work/openssl.cnf" -extensions relay \
		    -out "$work/relay.pem"
	} >"$work/openssl.log" 2>&1 || fail "openssl made no certificates"
}

# Starts the daemon of that name, and waits for its log to say that it is
# there; sets $port.
start() {
	local line

	heading "$1.conf"
	cat "$work/$1.conf"
	mkfifo "$work/$1.pipe"
	"$program" -c "$work/$1.conf" run 2>"$work/$1.pipe" &
	daemons+=($!)
	exec 3<"$work/$1.pipe"
	port=
	while IFS= read -r -t 60 line <&3; do
		echo "$line" >>"$work/$1.log"
		if [[ $line =~ event=listening\ address=127\.0\.0\.1:([0-9]+) ]]; then
			port=${BASH_REMATCH[1]}
		elif [[ $line == *event=started* && -n $port ]]; then
			cat <&3 >>"$work/$1.log" &
			exec 3<&-
			return 0
		fi
	done
	fail "$1 did not start"
}

# One SMTP command and its reply; $1 is the first digit that is wanted.
exchange() {
	local line

	[ $# -lt 2 ] || printf '%s\r\n' "$2" >&4
	while IFS= read -r -t 60 line <&4; do
		[[ $line == ???-* ]] || break
	done
	[[ $line == "$1"* ]] || fail "expected $1xx, got: $line"
}

# For a machine without curl.
smtp_by_hand() {
	local line

	exec 4<>"/dev/tcp/127.0.0.1/$port"
	exchange 2
	exchange 2 "EHLO demo.example"
	exchange 2 "MAIL FROM:<app@demo.example>"
	exchange 2 "RCPT TO:<ops@demo.example>"
	exchange 3 "DATA"
	while IFS= read -r line; do
		printf '%s\r\n' "$line" >&4
	done <"$work/message"
	exchange 2 .
	exchange 2 QUIT
	exec 4>&-
}

send_by_smtp() {
	cat >"$work/message" <<-END
	From: An application <app@demo.example>
	To: ops@demo.example
	Subject: demo by SMTP

	Sent to 127.0.0.1:$port.
	END
	if ! command -v curl >/dev/null; then
		smtp_by_hand
		return
	fi
	curl -sS --max-time 60 --crlf --mail-from app@demo.example \
	    --mail-rcpt ops@demo.example --upload-file "$work/message" \
	    "smtp://127.0.0.1:$port/demo.example" ||
	    fail "curl could not send by SMTP"
}

send_by_sendmail() {
	SMARTHOST_LISTEN_SOCKET=$work/socket timeout 60 "$program" sendmail -t \
	    <<-END || fail "sendmail -t ended with status $?"
	From: A script <script@demo.example>
	To: admin@demo.example
	Bcc: archive@demo.example
	Subject: demo by sendmail

	Sent with smarthost sendmail -t.
	END
}

umask 077
mkdir "$work/mail"
make_certificates
password=$(openssl rand -hex 16)
echo "$password" >"$work/password"
echo "demo:$(openssl passwd -6 "$password")" >"$work/users"

cat >"$work/relay.conf" <<END
[smarthost]
hostname = relay.example

[upstream]
provider = capture
directory = $work/mail

[listen]
socket = none
address = 127.0.0.1:0
tls_cert = $work/relay.pem
tls_key = $work/relay.key
auth_file = $work/users

[queue]
directory = none
END
start relay

cat >"$work/smarthost.conf" <<END
[smarthost]
hostname = demo.example

[identity]
domain = demo.example

[upstream]
host = 127.0.0.1
port = $port
tls = starttls
tls_name = relay.example
tls_ca_file = $work/ca.pem
user = demo
password_file = $work/password

[listen]
socket = $work/socket
address = 127.0.0.1:0

[queue]
directory = none
END
start smarthost

heading "smarthost check --to ops@demo.example"
"$program" -c "$work/smarthost.conf" check --to ops@demo.example ||
    fail "the relay cannot be used"

send_by_sendmail
send_by_smtp
kill "${daemons[@]}"
for daemon in "${daemons[@]}"; do
	status=0
	wait "$daemon" || status=$?
	[ "$status" -eq 0 ] || fail "a daemon ended with status $status"
done
daemons=()
wait

for file in "$work"/mail/*.eml; do
	[ -e "$file" ] || fail "no message was captured"
	heading "${file##*/}"
	tr -d '\r' <"$file"
done
for name in smarthost relay; do
	heading "log of $name"
	cat "$work/$name.log"
done
for subject in "demo by sendmail" "demo by SMTP"; do
	grep -q "^Subject: $subject" "$work"/mail/*.eml ||
	    fail "the message \"$subject\" was not captured"
done
[ "$(grep -c 'event=accepted .* user=demo tls=' "$work/relay.log")" -eq 2 ] ||
    fail "not all of it came under TLS and after a login"
heading "both messages arrived"
