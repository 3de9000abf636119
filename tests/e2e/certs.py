# SPDX-License-Identifier: ISC
"""Certificates for the relays of the tests, made by openssl.

One authority is the one that smarthost is told to trust; the leaves differ in
one thing each from the good one.  pem(name) is a file with the key and the
chain, as a server wants it.
"""

import datetime
import pathlib
import subprocess

DAY = datetime.timedelta(days=1)

# name: what is different.  issuer and key name the files made below; san is
# a subjectAltName of openssl; start and end are days from now.
LEAVES = {
    "good": {},
    "ecdsa": {"key": "ec"},
    "wildcard": {"san": "DNS:*.relay.test"},
    "chain": {"issuer": "inter", "chain": ["inter"]},
    "extra-chain": {"chain": ["ca", "inter"]},
    "unknown": {"issuer": "stranger"},
    "self-signed": {"issuer": None},
    "expired": {"start": -10, "end": -1},
    "soon": {"end": 3},
    "future": {"start": 2, "end": 300},
    "wrong-name": {"san": "DNS:other.test"},
    "cn-only": {"san": None},
    "cn-other-san": {"san": "DNS:other.test,DNS:relay.test.evil.test"},
    "nul-san": {"san": "nul"},
    "sha1": {"digest": "sha1"},
    "rsa1024": {"key": "rsa1024"},
    "ed25519": {"key": "ed25519"},
    "no-intermediate": {"issuer": "inter"},
    "leaf-issuer": {"issuer": "good", "chain": ["good"]},
}

GOOD_SAN = "DNS:relay.test,DNS:localhost"

CA_CONFIG = """
[ca]
default_ca = here
[here]
dir = {dir}
database = $dir/index
serial = $dir/serial
new_certs_dir = $dir
unique_subject = no
default_md = sha256
policy = any
email_in_dn = no
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = relay.test
"""


def _openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(done.stdout.decode(errors="replace"))


def _san(san):
    if san == "nul":  # a SEQUENCE with one dNSName that holds a NUL
        name = b"relay.test\0.evil.test"
        der = bytes([0x30, len(name) + 2, 0x82, len(name)]) + name
        return "DER:" + der.hex()
    return san


class Certificates:
    """All of them, in one directory that anyone may read."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(mode=0o755, exist_ok=True)
        self.keys = {}  # certificate: name of its key
        (self.dir / "index").touch()
        (self.dir / "serial").write_text("1000\n")
        (self.dir / "config").write_text(CA_CONFIG.format(dir=self.dir))
        self._key("rsa", "RSA", "rsa_keygen_bits:2048")
        self._key("rsa1024", "RSA", "rsa_keygen_bits:1024")
        self._key("ec", "EC", "ec_paramgen_curve:P-256")
        self._key("ed25519", "ED25519")
        self._issue("ca", issuer=None, authority=True, key="ec")
        self._issue("stranger", issuer=None, authority=True, key="ec")
        self._issue("inter", authority=True, key="ec")
        for name, different in LEAVES.items():
            self._issue(name, **{"san": GOOD_SAN, **different})

    @property
    def ca(self):
        """The authority that the relays' good certificates come from."""
        return self.dir / "ca.crt"

    @property
    def stranger(self):
        """Another authority."""
        return self.dir / "stranger.crt"

    def pem(self, name):
        """Key and chain of the server certificate of that name."""
        return self.dir / (name + ".pem")

    def _key(self, name, algorithm, *options):
        args = ["genpkey", "-algorithm", algorithm,
                "-out", self.dir / (name + ".key")]
        for option in options:
            args += ["-pkeyopt", option]
        _openssl(*args)

    def _issue(self, name, issuer="ca", key="rsa", san=None, start=-2,
               end=30, digest="sha256", authority=False, chain=()):
        def at(days):
            when = datetime.datetime.now(datetime.timezone.utc) + days * DAY
            return when.strftime("%Y%m%d%H%M%SZ")

        def path(what, kind):
            return self.dir / f"{what}.{kind}"

        common = {"ca": "Test authority", "inter": "Test intermediate",
                  "stranger": "Unknown authority"}.get(name, "relay.test")
        extensions = ["[x]", "subjectKeyIdentifier = hash"]
        if authority:
            extensions.append("basicConstraints = critical,CA:TRUE")
        else:
            extensions.append("basicConstraints = critical,CA:FALSE")
        if san:
            extensions.append("subjectAltName = " + _san(san))
        path(name, "ext").write_text("\n".join(extensions) + "\n")
        request = path(name, "csr")
        _openssl("req", "-new", "-config", self.dir / "config",
                 "-key", path(key, "key"), "-subj", "/CN=" + common,
                 "-out", request)
        args = ["ca", "-batch", "-notext", "-config", self.dir / "config",
                "-in", request, "-out", path(name, "crt"), "-md", digest,
                "-startdate", at(start), "-enddate", at(end),
                "-extfile", path(name, "ext"), "-extensions", "x"]
        if issuer is None:
            args += ["-selfsign", "-keyfile", path(key, "key")]
        else:
            args += ["-cert", path(issuer, "crt"),
                     "-keyfile", path(self.keys[issuer], "key")]
        _openssl(*args)
        self.keys[name] = key
        parts = [path(key, "key"), path(name, "crt")]
        parts += [path(above, "crt") for above in chain]
        pem = path(name, "pem")
        pem.write_text("".join(part.read_text() for part in parts))
        pem.chmod(0o644)
