"""What clients of Ollama find in a model's template."""

from __future__ import annotations

import re

import pytest

from qwencoder_lsp.http.ollama_template import go_template
from qwencoder_lsp.prompt.chat import CHATML

LLAMA = "{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}"


def test_a_template_has_a_suffix_exactly_where_the_model_fills() -> None:
    assert ".Suffix" in go_template(CHATML, fills=True)
    assert ".Suffix" not in go_template(CHATML, fills=False)
    assert ".Suffix" in go_template(LLAMA, fills=True)
    assert go_template(LLAMA, fills=False) == "{{ .Prompt }}"


@pytest.mark.parametrize("chat_template", [CHATML, LLAMA])
@pytest.mark.parametrize("fills", [True, False])
def test_a_template_is_gos_and_closes_what_it_opens(chat_template: str, fills: bool) -> None:
    template = go_template(chat_template, fills=fills)
    words = re.findall(r"\{\{-? ?(if|range|else|end)?", template)
    assert words.count("if") + words.count("range") == words.count("end")
    assert "{%" not in template


def test_a_model_that_converses_in_chatml_shows_its_tools() -> None:
    assert ".Tools" in go_template(CHATML, fills=True)
