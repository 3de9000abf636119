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

# Keys: algorithm and options.
KEYS = {
    "rsa": ("RSA", "rsa_keygen_bits:2048"),
    "rsa1024": ("RSA", "rsa_keygen_bits:1024"),
    "rsa4096": ("RSA", "rsa_keygen_bits:4096"),
    "ec": ("EC", "ec_paramgen_curve:P-256"),
    "ec2": ("EC", "ec_paramgen_curve:P-256"),
    "ec384": ("EC", "ec_paramgen_curve:P-384"),
    "ec521": ("EC", "ec_paramgen_curve:P-521"),
    "ed25519": ("ED25519",),
}

# name: what is different.  issuer, chain and key name other files made here;
# san is a subjectAltName of openssl; start and end are days from now.
AUTHORITIES = {
    "ca": {"issuer": None, "key": "ec", "common": "Test authority"},
    "stranger": {"issuer": None, "key": "ec", "common": "Unknown authority"},
    "inter": {"key": "ec", "common": "Test intermediate"},
    "inter2": {"key": "ec2", "issuer": "inter", "common": "Test second"},
    "inter384": {"key": "ec384", "digest": "sha384",
                 "common": "Test intermediate P-384"},
    "inter-old": {"key": "ec", "common": "Test old", "start": -10, "end": -1},
    "inter-crl": {"key": "ec", "common": "Test CRL signer",
                  "more": "keyUsage = critical,cRLSign"},
    "inter-named": {"key": "ec", "common": "Test constrained", "more":
                    "nameConstraints = critical,permitted;DNS:relay.test"},
    "ca4096": {"issuer": None, "key": "rsa4096", "common": "Test RSA 4096"},
    # one key and name, vouched for by itself and by the older one
    "new": {"issuer": None, "key": "ec2", "common": "Test new authority"},
    "new-crossed": {"issuer": "ca", "key": "ec2",
                    "common": "Test new authority"},
    "inter-new": {"issuer": "new", "key": "ec384",
                  "common": "Test new intermediate"},
}

LEAVES = {
    "good": {},
    "ecdsa": {"key": "ec"},
    "p384": {"key": "ec384", "digest": "sha384"},
    "p521": {"key": "ec521", "digest": "sha512"},
    "wildcard": {"san": "DNS:*.relay.test"},
    "chain": {"issuer": "inter", "chain": ["inter"]},
    "long-chain": {"issuer": "inter2", "chain": ["inter2", "inter"]},
    "with-root": {"issuer": "inter", "chain": ["inter", "ca"]},
    "ecdsa-chain": {"key": "ec384", "issuer": "inter384",
                    "chain": ["inter384"], "digest": "sha384"},
    "by-rsa4096": {"issuer": "ca4096"},
    "crossed": {"issuer": "inter-new", "chain": ["inter-new", "new-crossed"]},
    "extra-chain": {"chain": ["ca", "inter"]},
    "ip": {"san": "IP:127.0.0.1,IP:::1"},
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
    "rsa-pss": {"issuer": "ca4096", "sigopt": "rsa_padding_mode:pss"},
    "rsa1024": {"key": "rsa1024"},
    "ed25519": {"key": "ed25519"},
    "no-intermediate": {"issuer": "inter"},
    "half-chain": {"issuer": "inter2", "chain": ["inter2"]},
    "wrong-order": {"issuer": "inter2", "chain": ["inter", "inter2"]},
    "old-issuer": {"issuer": "inter-old", "chain": ["inter-old"]},
    "crl-issuer": {"issuer": "inter-crl", "chain": ["inter-crl"]},
    "named-issuer": {"issuer": "inter-named", "chain": ["inter-named"]},
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
    """All of them, each made when it is asked for, in one directory that
    anyone may read."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(mode=0o755, exist_ok=True)
        (self.dir / "index").touch()
        (self.dir / "serial").write_text("1000\n")
        (self.dir / "config").write_text(CA_CONFIG.format(dir=self.dir))

    @property
    def ca(self):
        """The authority that the relays' good certificates come from."""
        return self.crt("ca")

    @property
    def stranger(self):
        """Another authority."""
        return self.crt("stranger")

    def pem(self, name):
        """Key and chain of the server certificate of that name."""
        pem = self.dir / (name + ".pem")
        if not pem.exists():
            chain = (name, *LEAVES[name].get("chain", ()))
            parts = [self.key(name), *map(self.crt, chain)]
            pem.write_text("".join(part.read_text() for part in parts))
            pem.chmod(0o644)
        return pem

    def crt(self, name):
        """The certificate of that name alone."""
        path = self.dir / (name + ".crt")
        if not path.exists():
            self._issue(name, **AUTHORITIES.get(name) or
                        {"san": GOOD_SAN, **LEAVES[name]})
        return path

    def key(self, name):
        """The private key of that certificate."""
        key = (AUTHORITIES.get(name) or LEAVES[name]).get("key", "rsa")
        path = self.dir / (key + ".key")
        if not path.exists():
            algorithm, *options = KEYS[key]
            _openssl("genpkey", "-algorithm", algorithm, "-out", path,
                     *(word for one in options for word in ("-pkeyopt", one)))
        return path

    def fingerprint(self, name):
        """SHA-256 in pairs of hexadecimal digits with colons."""
        done = subprocess.run(["openssl", "x509", "-noout", "-fingerprint",
                               "-sha256", "-in", self.crt(name)], check=True,
                              stdout=subprocess.PIPE)
        return done.stdout.decode().strip().partition("=")[2]

    def _issue(self, name, issuer="ca", key="rsa", san=None, start=-2,
               end=30, digest="sha256", chain=(), common="relay.test",
               more="", sigopt=None):
        # pylint: disable=unused-argument
        def at(days):
            when = datetime.datetime.now(datetime.timezone.utc) + days * DAY
            return when.strftime("%Y%m%d%H%M%SZ")

        authority = "TRUE" if name in AUTHORITIES else "FALSE"
        extensions = ["[x]", "subjectKeyIdentifier = hash",
                      "basicConstraints = critical,CA:" + authority, more]
        if san:
            extensions.append("subjectAltName = " + _san(san))
        request, described = (self.dir / f"{name}.{kind}"
                              for kind in ("csr", "ext"))
        described.write_text("\n".join(extensions) + "\n")
        _openssl("req", "-new", "-config", self.dir / "config",
                 "-key", self.key(name), "-subj", "/CN=" + common,
                 "-out", request)
        args = ["ca", "-batch", "-notext", "-config", self.dir / "config",
                "-in", request, "-out", self.dir / f"{name}.crt",
                "-md", digest, "-startdate", at(start), "-enddate", at(end),
                "-extfile", described, "-extensions", "x"]
        if sigopt:
            args += ["-sigopt", sigopt]
        if issuer is None:
            args += ["-selfsign", "-keyfile", self.key(name)]
        else:
            args += ["-cert", self.crt(issuer), "-keyfile", self.key(issuer)]
        _openssl(*args)
