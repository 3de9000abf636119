# SPDX-License-Identifier: ISC
"""The programs of a Debian host that send mail, with our sendmail in the place
of theirs, through a relay that takes mail from one sender only, in envelope
and header. What arrives there is a table in sendmail(8), which has to be true.

Each program runs in a mount namespace of its own, where /usr/sbin/sendmail is
ours and /run, the crontabs and what else it would write to are the test's."""

import dataclasses
import email
import email.policy
import os
import pathlib
import re
import shutil
import signal
import subprocess
import textwrap

import pytest

import harness
from harness import ROOT, WAIT
from postfix import ONLY_SENDER

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("unshare") or
    subprocess.run(["unshare", "--mount", "true"], check=False).returncode,
    reason="needs root, for mounts of its own")

TEXT = "Grüße"
PAGE = (ROOT / "man" / "sendmail.8").read_text(encoding="utf-8")
TABLE = PAGE.partition(".It Sy program ")[2].partition(".El")[0].split("\n")
RELEASE = pathlib.Path("/etc/os-release")
DEBIAN_12 = RELEASE.exists() and 'VERSION="12 ' in RELEASE.read_text()

# What is put where in the namespace: $H is the test's own directory.
ENTER = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/smarthost /run/lock
mount --bind $H /run/smarthost
mount --bind $H/sendmail /usr/sbin/sendmail
for pair in $MOUNTS; do mount --bind $H/${pair%%:*} ${pair#*:}; done
cd $H
exec sh -c "$1"
"""


@dataclasses.dataclass
class Program:
    """How a program is made to send one message to NAME@example.test."""
    command: str
    needs: str = ""    # a program or a file
    mounts: str = ""   # file:target
    files: dict = dataclasses.field(default_factory=dict)
    text: str = TEXT   # has to arrive
    to: str = ""


SEND_EMAIL = """
git init -q repository
cd repository
git config user.name Dev
git config user.email dev@intern.example
git commit -q --allow-empty -m 'first'
git commit -q --allow-empty -m 'Subject

Grüße'
git format-patch -q -1 --always -o ../patches
git %s send-email --quiet --confirm=never --suppress-cc=all %s \\
    --to=$TO ../patches/*.patch
"""

PHPMAILER = """<?php
require '/usr/share/php/libphp-phpmailer/autoload.php';
$m = new PHPMailer\\PHPMailer\\PHPMailer(true);
$m->%s();
$m->Sendmail = '/usr/sbin/sendmail';
$m->CharSet = 'UTF-8';
$m->setFrom('shop@intern.example', 'Shop');
$m->Sender = 'bounce@intern.example';
$m->addAddress(getenv('TO'));
$m->Subject = 'Grüße';
$m->Body = "Grüße\\n";
$m->send();
"""

SYMFONY = """<?php
require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
use Symfony\\Component\\Mailer\\{Mailer, Transport};
$m = new Mailer(Transport::fromDsn('%s'));
$m->send((new Symfony\\Component\\Mime\\Email())
    ->from('shop@intern.example')->to(getenv('TO'))
    ->subject('Grüße')->text("Grüße\\n"));
"""

NODEMAILER = """
const transport = require('nodemailer').createTransport(%s);
transport.sendMail({from: 'app@intern.example', to: process.env.TO,
    subject: 'Grüße', text: 'Grüße\\n'}).catch(error => {
        console.error(error); process.exit(1); });
"""

PYTHON = """
import email.message, os, smtplib, subprocess
m = email.message.EmailMessage()
m['From'], m['To'], m['Subject'] = 'App <app@intern.example>', os.environ['TO'], 'x'
m['Bcc'] = 'bcc@example.test'
m.set_content('Grüße\\n')
%s
"""

UPGRADE = """
import importlib.machinery, importlib.util, os
loader = importlib.machinery.SourceFileLoader('u', '/usr/bin/unattended-upgrade')
u = importlib.util.module_from_spec(
    importlib.util.spec_from_loader('u', loader))
loader.exec_module(u)
u._send_mail_using_%s('root', os.environ['TO'], 'upgrades', 'Grüße\\n')
"""

LISTCHANGES = """
import os, sys, types
sys.path.insert(0, '/usr/share/apt-listchanges')
import apt_listchanges
apt_listchanges.mail_changes(types.SimpleNamespace(
    email_address=os.environ['TO'], email_format='text'), 'Grüße\\n', 'news')
"""

PERL = """
use Mail::Sendmail;
$Mail::Sendmail::mailcfg{smtp} = ['127.0.0.1'];
$Mail::Sendmail::mailcfg{port} = $ENV{PORT};
sendmail(To => $ENV{TO}, From => 'app@intern.example', Subject => 'x',
    'Content-Type' => 'text/plain; charset=utf-8',
    Message => "Grüße\\n") or die $Mail::Sendmail::error;
"""

# The lines that mdadm writes to popen("/usr/sbin/sendmail -t"); it does that
# only where there is an array to be looked at.
MDADM = """sendmail -t <<END
From: mdadm monitoring <root>
To: $TO
Subject: DegradedArray event on /dev/md0:host

This is an automatically generated mail message. Grüße
END
"""

SH = "echo Grüße |"
PROGRAMS = {
    "at": Program("echo 'echo Grüße' | at now; atd -s", "atd",
                  "jobs:/var/spool/cron", to="root@example.test"),
    "anacron": Program("anacron -f -d -n -t $H/anacrontab -S $H/jobs",
                       "anacron", files={"anacrontab": """
        SHELL=/bin/sh
        PATH=/usr/sbin:/usr/bin:/sbin:/bin
        MAILTO=anacron@example.test
        1 0 job echo Grüße
        """}),
    "bsd-mailx": Program(SH + "LC_ALL=C.UTF-8 bsd-mailx -s Grüße $TO",
                         "bsd-mailx"),
    "s-nail": Program(SH + "s-nail -n -S ttycharset=utf-8 -s x $TO",
                      "s-nail"),
    "mutt": Program(SH + "LC_ALL=C.UTF-8 mutt -n -F /dev/null -e 'set "
                    "hostname=host.example from=me@host.example "
                    "charset=utf-8' -s x $TO", "mutt"),
    "PHP mail": Program("php mail.php", "php", files={
        "mail.php": "<?php exit(mail(getenv('TO'), 'x', \"Grüße\\n\") "
                    "? 0 : 1);"}),
    "PHP mail, fifth argument": Program("php mail.php", "php", files={
        "mail.php": "<?php exit(mail(getenv('TO'), 'x', \"Grüße\\n\", "
                    "'From: Shop <shop@intern.example>', "
                    "'-fbounce@intern.example') ? 0 : 1);"}),
    "PHPMailer, isMail": Program(
        "php m.php", "/usr/share/php/libphp-phpmailer",
        files={"m.php": PHPMAILER % "isMail"}),
    "PHPMailer, isSendmail": Program(
        "php m.php", "/usr/share/php/libphp-phpmailer",
        files={"m.php": PHPMAILER % "isSendmail"}),
    "Symfony, sendmail": Program(
        "php m.php", "/usr/share/php/Symfony/Component/Mailer",
        files={"m.php": SYMFONY % "sendmail://default"}),
    "Symfony, native": Program(
        "php -d 'sendmail_path=/usr/sbin/sendmail -t -i' m.php",
        "/usr/share/php/Symfony/Component/Mailer",
        files={"m.php": SYMFONY % "native://default"}),
    "git, sendmailCmd": Program(SEND_EMAIL % (
        "-c sendemail.sendmailcmd=/usr/sbin/sendmail", ""),
        "/usr/lib/git-core/git-send-email"),
    "git, SMTP": Program(SEND_EMAIL % (
        "", "--smtp-server=127.0.0.1 --smtp-server-port=$PORT"),
        "/usr/lib/git-core/git-send-email"),
    "logwatch": Program(
        "mount -t tmpfs tmpfs /var/cache; mkdir /var/cache/logwatch; "
        "mount -t tmpfs tmpfs /var/log; cp dpkg.log /var/log; "
        "logwatch --output mail --mailto $TO --service dpkg --range all",
        "logwatch", text="Logwatch", files={
            "dpkg.log": "2026-01-01 00:00:00 upgrade hello:all 1.0 2.0\n"}),
    "smartd": Program(SH + "/usr/share/smartmontools/smartd-runner -s "
                      "'SMART error' $TO", "smartd"),
    "mdadm": Program(MDADM),
    "unattended-upgrades, mailx": Program(
        "/usr/bin/python3 u.py", "unattended-upgrade",
        files={"u.py": UPGRADE % "mailx"}),
    "unattended-upgrades, sendmail": Program(
        "/usr/bin/python3 u.py", "unattended-upgrade",
        files={"u.py": UPGRADE % "sendmail"}),
    "sudo": Program("chmod 440 sudoers; sudo true; sync", "sudo",
                    "sudoers:/etc/sudoers", text="COMMAND=", files={
                        "sudoers": "Defaults mailto=\"sudo@example.test\"\n"
                                   "Defaults mail_always\n"
                                   "root ALL=(ALL:ALL) ALL\n"}),
    "apt-listchanges": Program("/usr/bin/python3 l.py", "apt-listchanges",
                               files={"l.py": LISTCHANGES}),
    "Python, sendmail": Program("/usr/bin/python3 p.py", files={
        "p.py": PYTHON % "subprocess.run(['/usr/sbin/sendmail', '-t', '-oi']"
                         ", input=m.as_bytes(), check=True)"}),
    "Python, smtplib": Program("/usr/bin/python3 p.py", files={
        "p.py": PYTHON % "smtplib.SMTP('127.0.0.1', os.environ['PORT'])"
                         ".send_message(m)"}),
    "Perl, Mail::Sendmail": Program("perl p.pl",
                                    "/usr/share/perl5/Mail/Sendmail.pm",
                                    files={"p.pl": PERL}),
    "nodemailer, sendmail": Program(
        "NODE_PATH=/usr/share/nodejs node n.js",
        "/usr/share/nodejs/nodemailer",
        files={"n.js": NODEMAILER % "{sendmail: true}"}),
    "nodemailer, SMTP": Program(
        "NODE_PATH=/usr/share/nodejs node n.js",
        "/usr/share/nodejs/nodemailer",
        files={"n.js": NODEMAILER % "{host: '127.0.0.1', "
                                    "port: process.env.PORT}"}),
    "swaks": Program("swaks --server 127.0.0.1 --port $PORT --from "
                     "app@intern.example --to $TO --body Grüße", "swaks"),
    "msmtp": Program("printf 'From: App <app@intern.example>\\n\\nGrüße\\n' "
                     "| msmtp --file=/dev/null --host=127.0.0.1 "
                     "--port=$PORT --tls=off --auth=off "
                     "--from=app@intern.example $TO", "msmtp"),
}


class Host:
    """Runs programs; knows how each has called sendmail."""

    def __init__(self, place, daemon):
        self.place, self.port = place, daemon.port
        self.calls = place / "calls"
        self.calls.write_bytes(b"")
        self.calls.chmod(0o666)
        # a copy, as the tree may lie where not everybody can go
        shutil.copy(harness.BIN, place / "smarthost")
        script = place / "sendmail"
        script.write_text("#!/bin/sh\nprintf '%s\\n' \"$*\" >>"
                          f"{self.calls}\nexec {place}/smarthost sendmail "
                          '"$@"\n')
        script.chmod(0o755)

    def start(self, command, mounts="", to=""):
        """As a process group of its own; what it says is in output."""
        with open(self.place / "output", "wb") as output:
            return self.popen(command, output, mounts, to)

    def said(self):
        return (self.place / "output").read_text(errors="replace")

    def popen(self, command, output, mounts, to):
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             ENTER, "sh", command], cwd="/", stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
            env=harness.environment({
                "H": self.place, "MOUNTS": mounts, "TO": to,
                "PORT": self.port, "HOME": "/nonexistent",
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}))


@pytest.fixture
def host(place, start, for_postfix):
    daemon = start(for_postfix("one-sender", {"identity": {
        "domain": "example.test", "from": ONLY_SENDER, "rewrite": "always"}}))
    return Host(place, daemon)


def row(name, call, message):
    """A line of the table, as mdoc."""
    parsed = email.message_from_bytes(message.raw,
                                      policy=email.policy.default)
    [address] = parsed["From"].addresses
    assert address.addr_spec == ONLY_SENDER
    reply = str(parsed["Reply-To"] or "")
    cells = [name, call, address.display_name, reply]
    cells = [cell.replace("-", "\\-") for cell in cells]
    return ".It " + re.sub(" +", " ", " Ta ".join(cells)).rstrip()


def text_of(message):
    """Its body, for people."""
    parsed = email.message_from_bytes(message.raw,
                                      policy=email.policy.default)
    return parsed.get_body().get_content()


def check(name, call, message, text):
    """What the relay demands and every program can expect."""
    assert message.sender == ONLY_SENDER
    parsed = email.message_from_bytes(message.raw,
                                      policy=email.policy.default)
    for field in ("From", "Date", "Message-ID"):
        assert len(parsed.get_all(field)) == 1, field
    assert not parsed.get_all("Bcc") and not parsed.get_all("Sender")
    assert text in text_of(message)
    if not text.isascii():
        assert parsed["MIME-Version"]
    line = row(name, call, message)
    if DEBIAN_12:  # elsewhere the programs are others
        assert line in TABLE, f"sendmail(8) should say:\n{line}"


def test_table_names_each_program():
    names = [line[4:].partition(" Ta ")[0].replace("\\-", "-")
             for line in TABLE if line.startswith(".It ")]
    assert sorted(names) == sorted([*PROGRAMS, "cron, root", "cron, nobody"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, host, postfix):
    program = PROGRAMS[name]
    if program.needs and not (shutil.which(program.needs) or
                              os.path.exists(program.needs)):
        pytest.skip(program.needs + " is not installed")
    to = program.to or re.sub(r"\W+", "-", name).strip("-").lower() + \
        "@example.test"
    for file, text in program.files.items():
        (host.place / file).write_text(textwrap.dedent(text).lstrip("\n"),
                                       encoding="utf-8")
    for sub in ("", "atjobs", "atspool"):
        (host.place / "jobs" / sub).mkdir(mode=0o755, exist_ok=True)
        shutil.chown(host.place / "jobs" / sub, "daemon", "daemon")
    (host.place / "jobs/atjobs/.SEQ").touch()
    shutil.chown(host.place / "jobs/atjobs/.SEQ", "daemon")
    before = [m.raw for m in postfix.all_messages()]
    process = host.start(program.command, program.mounts, to)
    assert process.wait(WAIT) == 0, host.said()
    # sudo sends a second one where it has something to complain about
    message = harness.wait_for(lambda: next(
        (m for m in postfix.messages(to) if m.raw not in before and
         program.text in text_of(m)), None))
    calls = host.calls.read_text().splitlines()
    assert len(set(calls)) <= 1, calls
    call = re.sub(r"\S+@example\.test", "recipient",
                  calls[0] if calls else "SMTP")
    check(name, call, message, program.text)


def test_cron(host, postfix):
    """Real entries in crontabs, whose minute has come."""
    if not shutil.which("cron") or not shutil.which("faketime"):
        pytest.skip("cron or faketime is not installed")
    if harness.SANITIZED:
        pytest.skip("faketime and a sanitizer both want to be loaded first")
    for name in ("jobs/crontabs", "cron.d"):
        (host.place / name).mkdir(parents=True)
    (host.place / "crontab").touch()
    for user in ("root", "nobody"):
        path = host.place / "jobs/crontabs" / user
        path.write_text(f"LANG=C.UTF-8\nMAILTO=cron-{user}@example.test\n"
                        "* * * * * echo Grüße\n", encoding="utf-8")
        path.chmod(0o600)
        shutil.chown(path, user)
    seen = [m.raw for m in postfix.all_messages()]
    process = host.start(
        "exec faketime -f '@2026-01-01 00:00:50 x10' cron -f",
        "jobs:/var/spool/cron crontab:/etc/crontab cron.d:/etc/cron.d")
    people = [f"cron-{user}@example.test" for user in ("root", "nobody")]
    try:
        found = [harness.wait_for(lambda: next(  # noqa: B023
            (m for m in postfix.messages(to) if m.raw not in seen), None))
            for to in people]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(host.said())
    for user, to, message in zip(("root", "nobody"), people, found):
        calls = [call.replace(to, "recipient") for call in
                 host.calls.read_text().splitlines() if to in call]
        check(f"cron, {user}", calls[0], message, TEXT)
