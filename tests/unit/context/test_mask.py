"""Secrets leave a text as numbered placeholders and come back into the answer."""

import json

from qwencoder_lsp.context.mask import Mask

PASSWORD, TOKEN = "hunter2!Xy9", "ghp_" + "a1B2" * 9


def test_the_same_secret_has_the_same_placeholder_wherever_it_stands() -> None:
    mask = Mask()
    assert mask.hidden(f"password = '{PASSWORD}'\ntoken = '{TOKEN}'\n") == "password = '<secret:password-1>'\ntoken = '<secret:github-token-2>'\n"
    assert mask.hidden(f"again('{TOKEN}')") == "again('<secret:github-token-2>')"


def test_a_secret_that_is_known_is_hidden_where_nothing_says_that_it_is_one() -> None:
    mask = Mask()
    mask.hidden(f"password = '{PASSWORD}'")
    assert mask.hidden(f"say('{PASSWORD}')") == "say('<secret:password-1>')"


def test_what_was_hidden_comes_back() -> None:
    mask, text = Mask(), f"db = 'postgres://app:{PASSWORD}@db/x'\nkey = '{TOKEN}'\n"
    hidden = mask.hidden(text)
    assert PASSWORD not in hidden
    assert TOKEN not in hidden
    assert mask.revealed(hidden) == text


def test_a_private_key_keeps_its_lines_and_comes_back() -> None:
    body = "\n".join("MIIEowIBAAKCAQEA" + str(n) * 20 for n in range(5))
    text = f"KEY = '''-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----'''\n"
    mask = Mask()
    hidden = mask.hidden(text)
    assert "MIIEow" not in hidden
    assert hidden.count("\n") == text.count("\n")
    assert mask.revealed(hidden) == text


def test_a_placeholder_that_the_text_itself_has_stays_as_it_is() -> None:
    text = f"# like <secret:password-1>\npassword = '{PASSWORD}'\n"
    mask = Mask()
    hidden = mask.hidden(text)
    assert "<secret:password-2>" in hidden
    assert mask.revealed(hidden) == text


def test_in_json_a_secret_is_hidden_and_comes_back_as_json_needs_it() -> None:
    value = 'pä\\"ss9!Kq'
    mask = Mask()
    mask._name("password", value)
    document = json.dumps({"enum": [f"x = {value}"]})
    hidden = mask.hidden_json(document)
    assert json.loads(hidden) == {"enum": ["x = <secret:password-1>"]}
    assert json.loads(mask.revealed(hidden, json_text=True)) == json.loads(document)
