from __future__ import annotations

import pytest

from qwencoder_lsp.context.usage import enclosing_class, type_of, usage


@pytest.mark.parametrize(
    ("text", "variable", "expected"),
    [
        ("def f(client: Client):\n", "client", "Client"),
        ("def f(client: 'api.Client' = None):\n", "client", "Client"),
        ("client: Optional[Client] = None\n", "client", "Client"),
        ("client = api.Client(url)\n", "client", "Client"),
        ("client = Client(1)\nclient = Other(2)\n", "client", "Other"),
        ("client = make_client()\n", "client", ""),
        ("with Client(1) as client:\n", "client", "Client"),
        ("self.client = Client()\n", "self.client", "Client"),
        ("const client = new Client();\n", "client", "Client"),
        ("function f(client: Client) {\n", "client", "Client"),
        ("let client = Client::new(1);\n", "client", "Client"),
        ("fn f(client: &mut Client) {\n", "client", "Client"),
        ("HttpClient client = null;\n", "client", "HttpClient"),
        ("name: str\n", "name", ""),
        ("other = Client()\n", "client", ""),
    ],
)
def test_the_type_of_a_variable_is_read_from_the_text(text: str, variable: str, expected: str) -> None:
    assert type_of(variable, text, len(text)) == expected


def test_words_weigh_less_with_distance_and_most_on_the_cursors_line() -> None:
    text = "far_away()\n" + "\n" * 20 + "nearby()\nhere."
    words = usage(text, len(text)).words
    assert words["here"] > words["nearby"] > words["far_away"] > 0
    assert "return" not in usage("return value", 12).words


def test_the_receiver_of_a_member_that_is_being_written_is_known() -> None:
    found = usage("x = self.client.ge", 18)
    assert (found.receiver, found.member) == ("self.client", "ge")
    assert usage("p->na", 5).receiver == "p"
    assert usage("x = 1", 5).receiver == ""


def test_the_class_around_the_cursor_is_the_one_that_is_indented_less() -> None:
    text = "class A(Base, mixins.Other):\n    x = 1\n\n    def f(self):\n        self."
    assert enclosing_class(text, len(text)) == ("A", ["Base", "mixins", "Other"])
    assert enclosing_class("class A:\n    x = 1\n\nx", 21) == ("", [])
    assert enclosing_class("x = 1\n", 6) == ("", [])
