import base64
import itertools
import random
import string
from collections.abc import Callable

import pytest

from qwencoder_lsp.context.secrets import emits, find, redact, secret_path

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the texts must be the same in every run


def _draw(rng: random.Random, alphabet: str, n: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(n))


def _b64(rng: random.Random, n: int) -> str:
    return base64.b64encode(rng.randbytes(n)).decode()


def _jwt(rng: random.Random) -> str:
    part = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    return f"{part}.eyJ{_draw(rng, URLSAFE, 40)}.{_draw(rng, URLSAFE, 43)}"


def _human(rng: random.Random) -> str:
    return f"{rng.choice(['Winter', 'tango', 'Blue', 'kanga'])}{rng.randint(10, 9999)}{rng.choice('!?#$&')}"


# kind -> (how it is drawn, how it stands in a file); drawn, so that no key stands in this repository
PLANTED: dict[str, tuple[Callable[[random.Random], str], tuple[str, ...]]] = {
    "aws-access-key": (lambda r: "AKIA" + _draw(r, string.ascii_uppercase + "234567", 16), (
        "aws_id = '{}'", "AWS_ACCESS_KEY_ID={}", "{{\"id\": \"{}\"}}")),
    "aws-secret": (lambda r: _draw(r, ALNUM + "/+", 40), ("aws_secret_access_key = {}", "SECRET_KEY = \"{}\"", "  secretAccessKey: '{}'")),
    "github-token": (lambda r: "ghp_" + _draw(r, ALNUM, 36), ("token = '{}'", "git clone https://{}@github.com/a/b", "# {}")),
    "gitlab-token": (lambda r: "glpat-" + _draw(r, URLSAFE, 20), ("PRIVATE-TOKEN: {}", "x = f('{}')", "CI={}")),
    "slack-token": (lambda r: f"xoxb-{r.randint(10**11, 10**12)}-{_draw(r, ALNUM, 24)}", ("bot('{}')", "SLACK={}", "slack: {}")),
    "openai-key": (lambda r: "sk-proj-" + _draw(r, URLSAFE, 30) + "9" + _draw(r, ALNUM, 17), ("OpenAI(api_key='{}')", "OPENAI={}", "let k = `{}`;")),
    "google-key": (lambda r: "AIza" + _draw(r, URLSAFE, 35), ("key={}", "maps?key={}&v=3", "\"{}\"")),
    "stripe-key": (lambda r: "sk_live_" + _draw(r, ALNUM, 24), ("stripe.api_key = \"{}\"", "{}", "STRIPE: {}")),
    "jwt": (_jwt, ("token={}", "jwt = \"{}\"", "Authorization: Bearer {}")),
    "private-key": (
        lambda r: "\n".join(_draw(r, ALNUM + "+/", 64) for _ in range(6)),
        (
            "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
            "k = \"\"\"-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\"\"\"",
        ),
    ),
    "url-password": (lambda r: _human(r).replace("#", "x").replace("?", "y"), (
        "db = 'postgres://app:{}@db.local:5432/app'", "REDIS_URL=redis://:{}@cache:6379", "amqp://u:{}@mq/")),
    "password": (_human, ("password = '{}'", "\"db_password\": \"{}\",", "PASSWD=\"{}\"", "config.set(\"smtp_password\", \"{}\")")),
    "key": (lambda r: _draw(r, ALNUM, 32), ("API_KEY = \"{}\"", "client_secret: \"{}\"", "export AUTH_TOKEN={}", "const accessToken = '{}';")),
    "hex-key": (lambda r: _draw(r, "0123456789abcdef", 40), ("api_key: '{}'", "ENCRYPTION_KEY=\"{}\"")),
    "auth-header": (lambda r: _b64(r, 24), ("headers = {{'Authorization': 'Basic {}'}}", "curl -H 'Authorization: Bearer {}'")),
}  # fmt: skip


def test_at_least_95_of_100_planted_secrets_are_replaced() -> None:
    rng = _chance(6)
    missed, count = [], 0
    for kind, (draw, places) in PLANTED.items():
        for _ in range(3):
            for place in places:
                value = draw(rng)
                count += 1
                if any(line in redact(f"import os\n{place.format(value)}\nprint(1)\n") for line in value.split("\n")):
                    missed.append((kind, place, value))
    assert count >= 100
    assert len(missed) <= count // 20, missed


@pytest.mark.parametrize(
    "line",
    [
        'password_field = "user_password"',
        'token = request.COOKIES["csrftoken"]',
        "self.api_key = os.environ['API_KEY']",
        "def login(username: str, password: str = '') -> Token:",
        'commit = "10ac382f1a2b3c4d5e6f708192a3b4c5d6e7f809"',
        "secret: string;",
        'PASSWORD = "changeme"',
        "password = getpass.getpass('Password: ')",
        '"next_page_token": "NEXT_PAGE_TOKEN"',
        "tokens = tokenizer.encode(text)",
        'url = "https://user:${PASSWORD}@example.com/"',
        "It begins with -----BEGIN RSA PRIVATE KEY----- and ends with -----END RSA PRIVATE KEY-----.",
    ],
)
def test_ordinary_code_is_left_alone(line: str) -> None:
    assert redact(line) == line


def test_a_text_keeps_its_number_of_lines() -> None:
    rng = _chance(1)
    body = "\n".join(_draw(rng, ALNUM, 64) for _ in range(4))
    text = f"a\n-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\nb\n"
    assert redact(text).count("\n") == text.count("\n")
    assert redact(text).endswith("\nb\n")


@pytest.mark.parametrize("keep", ["head", "tail"])
def test_a_private_key_that_is_cut_in_two_is_still_one(keep: str) -> None:
    rng = _chance(2)
    lines = [_draw(rng, ALNUM, 64) for _ in range(8)]
    text = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END RSA PRIVATE KEY-----\n"
    part = text[: len(text) // 2] if keep == "head" else text[len(text) // 2 :]
    assert not any(line[:30] in redact(part) for line in lines)


def test_what_was_replaced_is_not_replaced_again() -> None:
    once = redact("api_key = '" + _draw(_chance(3), ALNUM, 32) + "'")
    assert redact(once) == once == "api_key = '<secret:key>'"


def test_a_suggestion_that_writes_a_placeholder_or_a_key_is_told() -> None:
    key = _draw(_chance(4), ALNUM, 32)
    assert emits("api_key = ", "'<secret:key>'")
    assert emits("api_key = '", f"{key}'")
    assert not emits(f"api_key = '{key}'\n", "print(api_key)")


def test_secrets_do_not_overlap_and_are_in_order() -> None:
    key = "ghp_" + _draw(_chance(5), ALNUM, 36)
    spans = [s.span for s in find(f"token = '{key}' # {key}")]
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert len(spans) == 2


@pytest.mark.parametrize("path", [".env", "a/.env.local", "deploy/prod.env", "home/.ssh/config", "keys/server.pem", "x/id_rsa", "credentials"])
def test_files_made_for_secrets_are_known_by_their_path(path: str) -> None:
    assert secret_path(path)


@pytest.mark.parametrize("path", [".env.example", "environment.py", "src/keys.py", "docs/credentials.md", "pem.go"])
def test_other_files_are_not(path: str) -> None:
    assert not secret_path(path)
