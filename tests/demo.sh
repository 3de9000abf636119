#!/bin/bash
# Shows smarthost at work without a relay: `provider = capture` writes each
# message to a file. One message goes in by sendmail, one by SMTP.
#
#   tests/demo.sh [PROGRAM]        (./smarthost by default)
set -eu

program=$(realpath "${1:-$(dirname "$0")/../smarthost}")
work=$(mktemp -d)
daemon=
port=
clean_up() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT

fail() {
	echo "demo: $1" >&2
	[ ! -s "$work/log" ] || cat "$work/log" >&2
	exit 1
}

heading() {
	printf '\n--- %s\n' "$1"
}

# Reads the daemon's log until it says that it has started; sets $port.
await_start() {
	local line

	while IFS= read -r -t 60 line <&3; do
		echo "$line" >>"$work/log"
		if [[ $line =~ event=listening\ address=127\.0\.0\.1:([0-9]+) ]]; then
			port=${BASH_REMATCH[1]}
		elif [[ $line == *event=started* && -n $port ]]; then
			return 0
		fi
	done
	fail "the daemon did not start"
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

cat >"$work/smarthost.conf" <<END
[smarthost]
hostname = demo.example

[upstream]
provider = capture
directory = $work/mail

[listen]
socket = $work/socket
address = 127.0.0.1:0

[queue]
directory = none
END
mkdir "$work/mail"
mkfifo "$work/pipe"

heading "configuration"
cat "$work/smarthost.conf"
"$program" -c "$work/smarthost.conf" run 2>"$work/pipe" &
daemon=$!
exec 3<"$work/pipe"
await_start
cat <&3 >>"$work/log" &
reader=$!

send_by_sendmail
send_by_smtp
kill "$daemon"
status=0
wait "$daemon" || status=$?
daemon=
wait "$reader"
[ "$status" -eq 0 ] || fail "the daemon ended with status $status"

for file in "$work"/mail/*.eml; do
	[ -e "$file" ] || fail "no message was captured"
	heading "${file##*/}"
	tr -d '\r' <"$file"
done
heading "log"
cat "$work/log"
for subject in "demo by sendmail" "demo by SMTP"; do
	grep -q "^Subject: $subject" "$work"/mail/*.eml ||
	    fail "the message \"$subject\" was not captured"
done
heading "both messages arrived"
