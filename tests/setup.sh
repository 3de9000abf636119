#!/bin/sh
# Installs what is missing on a Debian machine, and asks nothing.
#
#   tests/setup.sh build     for `make`
#   tests/setup.sh static    for `make static`
#   tests/setup.sh check     for `make check`
#   tests/setup.sh programs  the same, and every program that sends mail; with
#                            CI set, that is what check means
#   tests/setup.sh coverage  for `make coverage-fuzz`
#
# No package is ever removed for it, and no daemon is started.
set -eu

build="ca-certificates gcc make libc6-dev libbearssl-dev libinih-dev"
static="$build binutils musl-tools"
check="$static clang curl iproute2 libcmocka-dev
libclang-rt-dev libnet-ssleay-perl libsasl2-modules libssl-dev msmtp openssl postfix procps
mandoc python3-aiosmtpd python3-pytest python3-pytest-timeout sasl2-bin strace swaks systemd"

# The programs that send mail, some of them daemons and jobs of cron: only a
# machine that is there for tests gets them, and elsewhere their tests are
# skipped.
programs="anacron apt-listchanges at bsd-mailx cron faketime git-email
libmail-sendmail-perl libmailtools-perl libphp-phpmailer logwatch mutt
node-nodemailer nodejs php-cli php-symfony-mailer podman runc s-nail
smartmontools sudo unattended-upgrades"
[ -z "${CI-}" ] || check="$check $programs"

case ${1-} in
build) packages=$build ;;
static) packages=$static ;;
check) packages=$check ;;
coverage) packages="$check llvm" ;;
programs) packages="$check $programs" ;;
*)
	echo "usage: tests/setup.sh build|static|check|coverage|programs" >&2
	exit 64
	;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
	echo "This is not Debian: nothing is installed, and what follows needs" \
	    "the equivalents of $packages" >&2
	exit 0
fi

missing=
for package in $packages; do
	status=$(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null) ||
	    status=
	case " $status" in
	*" installed "*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root=sudo
else
	echo "These packages are missing; install them as root:$missing" >&2
	exit 1
fi

# Postfix's installation asks for a configuration (none, please) and would
# start a daemon on port 25.
no_questions() {
	echo "postfix postfix/main_mailer_type select No configuration" |
	    $as_root debconf-set-selections
}

policy=/usr/sbin/policy-rc.d
no_daemons() {
	[ ! -e "$policy" ] || return 0
	trap '$as_root rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	$as_root chmod 755 "$policy"
}

echo "Installing$missing"
$as_root apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 update ||
    echo "The package lists are not all fresh; trying with what there is." >&2
case " $missing " in
*" postfix "*)
	no_questions
	no_daemons
	;;
*" cron "* | *" at "*) no_daemons ;;
esac
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    --no-install-recommends --no-remove -o Acquire::Retries=3 \
    -o DPkg::Lock::Timeout=600 install $missing </dev/null || {
	echo "These packages could not be installed:$missing" >&2
	exit 1
}
