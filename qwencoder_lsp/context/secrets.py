"""The secret guard: keys, tokens and passwords in a text become typed placeholders before the text is stored, prompted, cached or logged.

Text goes in, the same text with `<secret:KIND>` in place of each secret comes out, with as many lines as before. Three kinds of evidence: the fixed
formats that services give their keys, a name that says "password" in front of a value that looks like none of a programmer's words, and PEM blocks.
Pure. A digest alone is no secret: commit ids and checksums stand in code everywhere.

Key formats as their issuers document them; https://github.com/gitleaks/gitleaks (MIT) has the collection that was used to check the list.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from qwencoder_lsp.core.prompt import SECRET_PLACEHOLDER
from qwencoder_lsp.core.text import Span


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's place. kind: what it is, as in the placeholder."""

    kind: str
    span: Span


@dataclass(frozen=True, slots=True)
class _Format:
    """A key format. hints: one of these stands in every text that has such a key, so that most texts cost a search for a word."""

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _format(kind: str, pattern: str, *hints: str) -> _Format:
    return _Format(kind, hints, re.compile(pattern))


_FORMATS = (
    _format("aws-access-key", r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])", "AKIA", "ASIA", "ABIA", "ACCA"),
    _format("github-token", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _format("github-token", r"\bgithub_pat_[A-Za-z0-9_]{50,}\b", "github_pat_"),
    _format(
        "gitlab-token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_\-]{20,}", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-"
    ),
    _format("slack-token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", "xox"),
    _format("slack-webhook", r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{30,}", "hooks.slack.com/services/"),
    _format("anthropic-key", r"\bsk-ant-[A-Za-z0-9_\-]{20,}", "sk-ant-"),
    _format("openai-key", r"\bsk-(?!ant-)(?:proj-|svcacct-|admin-)?(?=[A-Za-z_\-]*[0-9])[A-Za-z0-9_\-]{20,}", "sk-"),
    _format("huggingface-token", r"\bhf_[A-Za-z0-9]{30,}\b", "hf_"),
    _format("google-key", r"\bAIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])", "AIza"),
    _format("google-token", r"\bya29\.[A-Za-z0-9_\-]{20,}", "ya29."),
    _format("stripe-key", r"\b(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16,}\b", "_live_", "_test_", "_prod_"),
    _format("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b", "npm_"),
    _format("pypi-token", r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_\-]{50,}", "pypi-AgEIcHlwaS5vcmc"),
    _format("sendgrid-key", r"\bSG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}", "SG."),
    _format("twilio-key", r"\bSK[0-9a-f]{32}\b", "SK"),
    _format("telegram-token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_\-]{32,34}(?![A-Za-z0-9_\-])", ":AA"),
    _format("discord-token", r"\b[MNO][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}(?![A-Za-z0-9_\-])", "."),
    _format("digitalocean-token", r"\bdo[opr]_v1_[0-9a-f]{64}\b", "dop_v1_", "doo_v1_", "dor_v1_"),
    _format("shopify-token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b", "shpat_", "shpca_", "shppa_", "shpss_"),
    _format("age-key", r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}", "AGE-SECRET-KEY-1"),
    _format("azure-key", r"(?<=AccountKey=)[A-Za-z0-9+/]{40,}={0,2}", "AccountKey="),
    _format("jwt", r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}", "eyJ"),
)
_PEM = re.compile(
    r"(?<=-----BEGIN )(?P<what>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----(?P<body>.*?)(?:-----END |\Z)"  # also cut off at the end
    r"|(?:\A|\n)(?P<rest>(?:[ \t\"'#*]*[A-Za-z0-9+/=]{20,}[\"',\\nr \t]*\n)+)[ \t\"'#*]*-----END [A-Z0-9 ]*PRIVATE KEY",  # or at the start
    re.DOTALL,
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=]{20,}")
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,30}://[^\s:/@\"'<>{}$%]*:(?P<value>[^\s/@\"'<>{}$]{3,256})@[A-Za-z0-9\[]")
_HEADER = re.compile(r"(?i)\b(?:authorization[\"']?\s*[:=,]\s*[\"']?)?(?:bearer|basic)\s+(?P<value>[A-Za-z0-9+/_\-.=~]{20,})")

_NAMES = ("passw", "pwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key", "accesskey", "access_key", "access-key", "credential",
          "private_key", "privatekey", "auth_key", "authkey", "encryption_key", "signing_key", "client_key", "account_key",
          "license_key")  # fmt: skip
_KEYS = "(?:access|private|auth|encryption|signing|client|account|license)"
_NAME = rf"(?i:[\w.\-]{{0,64}}(?:passw|pwd|pass\b|passphrase|secret|token|api[_\-]?key|credential|{_KEYS}[_\-]?key)[\w.\-]{{0,40}})"
_QUOTED = re.compile(
    rf"(?<![\w.\-])(?P<name>{_NAME})[\"'\]]{{0,2}}(?:\s*:\s*[\w.\[\]| ]{{1,40}}(?=\s*=))?"  # password, "password"], password: str
    r"\s{0,8}(?:=>|:=|=|:|\(|(?<=[\"'])\s{0,8},)\s{0,8}"
    r"[rbuRBU]{0,2}(?P<quote>[\"'`])(?P<value>[^\s\"'`]{6,512})(?P=quote)"
)
_BARE = re.compile(
    rf"(?m)^[ \t]*(?:export[ \t]+|set[ \t]+|- )?[\"']?(?P<name>{_NAME})[\"']?[ \t]{{0,4}}[:=][ \t]{{0,4}}"
    r"(?P<value>[^\s\"'`#;,()\[\]{}<>]{8,512})[ \t]*$"
)
_WORDS = re.compile(r"[a-zA-Z]+\d{0,2}(?:[_\-./:\\ ]+[a-zA-Z]*\d{0,2})*")  # what programmers write: identifiers, paths, keys of messages
_CAMEL = re.compile(r"[A-Z]?[a-z]{2,}(?:[A-Z][a-z]+)*\d{0,2}")
_DUMMY = re.compile(
    r"(?i)example|change.?me|your|dummy|placeholder|xxx|redacted|insert|todo|\*{3}|\.{3}|12345678(?!9)|abcdef(?!\d)|%[sdr(]|%\w+%|\$\{|\$\(|\{\w*\}|<\w"
)


def find(text: str) -> list[Secret]:
    """The secrets in `text`, by place; they do not overlap."""
    found: list[Secret] = []
    for format_ in _FORMATS:
        if any(hint in text for hint in format_.hints):
            found += [Secret(format_.kind, Span(m.start(), m.end())) for m in format_.pattern.finditer(text) if not _DUMMY.search(m[0])]
    if "PRIVATE KEY" in text:
        found += [Secret("private-key", _body(m)) for m in _PEM.finditer(text) if _BASE64.search(m["body"] or m["rest"])]
    if "://" in text:
        found += [Secret("url-password", Span(*m.span("value"))) for m in _URL.finditer(text) if _password(m["value"], least=1)]
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        found += [Secret("auth-header", Span(*m.span("value"))) for m in _HEADER.finditer(text) if _random(m["value"])]
    if any(name in lower for name in _NAMES):
        for pattern in (_QUOTED, _BARE):
            found += [s for m in pattern.finditer(text) if (s := _assigned(m, quoted=pattern is _QUOTED))]
    return _apart(found)


def redact(text: str) -> str:
    """`text` with a placeholder for each secret, and with as many lines as before."""
    parts: list[str] = []
    at = 0
    for secret in find(text):
        lines = text.count("\n", secret.span.start, secret.span.end)
        parts += (text[at : secret.span.start], f"<secret:{secret.kind}>", "\n" * lines)
        at = secret.span.end
    return "".join((*parts, text[at:])) if parts else text


@lru_cache(maxsize=64)
def redact_kept(text: str) -> str:
    """The same for a text that comes again with each keystroke."""
    return redact(text)


def emits(before: str, text: str) -> bool:
    """Whether `text`, written behind `before`, would write a placeholder or a secret."""
    if SECRET_PLACEHOLDER.search(text):
        return True
    return any(secret.span.end > len(before) for secret in find(before + text))


_SECRET_NAMES = frozenset(
    {"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", "_netrc", ".pgpass", ".htpasswd", ".npmrc", ".pypirc", ".dockercfg", ".git-credentials",
     "credentials", ".credentials", "secrets.yml", "secrets.yaml", "secrets.json", "secrets.toml", "master.key", "shadow", "service-account.json",
     "terraform.tfvars", ".vault-token", "kubeconfig", ".my.cnf", "wp-config.php"}
)  # fmt: skip
_SECRET_SUFFIXES = frozenset(
    {
        ".pem",
        ".key",
        ".p12",
        ".pfx",
        ".jks",
        ".keystore",
        ".kdb",
        ".kdbx",
        ".ppk",
        ".asc",
        ".gpg",
        ".pgp",
        ".p8",
        ".der",
        ".ovpn",
        ".tfstate",
        ".agekey",
    }
)
_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".gcloud", ".password-store"})
_SAMPLES = (".example", ".sample", ".template", ".dist")


def secret_path(path: str) -> bool:
    """Whether a file of that path, with forward slashes, is made to hold secrets: nothing of it is read."""
    parts = PurePosixPath(path.lower()).parts
    if not parts:
        return False
    name = parts[-1]
    if name.endswith(_SAMPLES):
        return False
    env = name == ".env" or name.startswith(".env.") or name.endswith(".env") or name == ".envrc"
    return env or name in _SECRET_NAMES or PurePosixPath(name).suffix in _SECRET_SUFFIXES or any(p in _SECRET_FOLDERS for p in parts[:-1])


def _body(match: re.Match[str]) -> Span:
    return Span(*match.span("body" if match["body"] is not None else "rest"))


def _assigned(match: re.Match[str], *, quoted: bool) -> Secret | None:
    name, value = match["name"].lower(), match["value"]
    human = "pass" in name or "pwd" in name
    if not (_password(value, least=2 if quoted else 3) if human else _random(value)) or (not quoted and not _random(value)):
        return None
    return Secret("password" if human else "key", Span(*match.span("value")))


def _password(value: str, least: int) -> bool:
    """Whether a person could have chosen `value` as a password: no dummy, no programmer's words, characters of `least` classes."""
    if SECRET_PLACEHOLDER.search(value) or _DUMMY.search(value) or "pass" in value.lower():
        return False
    if least > 1 and _WORDS.fullmatch(value) and not re.search(r"\d", value):
        return False
    return _classes(value) >= least


def _random(value: str) -> bool:
    """Whether `value` looks drawn by lot: letters and digits, long and uneven enough, and no identifier or path."""
    if len(value) < 12 or SECRET_PLACEHOLDER.search(value) or _DUMMY.search(value) or _WORDS.fullmatch(value) or _CAMEL.fullmatch(value):
        return False
    if _classes(value) < 2 or not re.search(r"\d", value) or not re.search(r"[A-Za-z]", value) or "://" in value:
        return False
    return _entropy(value) >= (2.8 if re.fullmatch(r"[0-9a-fA-F\-]+", value) else 3.2)


def _classes(value: str) -> int:
    return sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^A-Za-z0-9]"))


def _entropy(value: str) -> float:
    """Bits per character, of the characters' frequencies (Shannon 1948)."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


def _apart(found: list[Secret]) -> list[Secret]:
    out: list[Secret] = []
    for secret in sorted(found, key=lambda s: (s.span.start, -s.span.end)):
        if not out or secret.span.start >= out[-1].span.end:
            out.append(secret)
    return out
