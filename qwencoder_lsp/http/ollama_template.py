"""The template that /api/show tells of a model: in Go's language, as Ollama's templates are (its docs/template.mdx), not in the file's Jinja.

Clients do not run it, but look into it: Continue asks for fill in the middle where it finds ".Suffix" (core/llm/llms/Ollama.ts), others look for
".Tools". So it says what our routes do, which render prompts by themselves (prompt/fim.py, prompt/chat.py).
"""

from __future__ import annotations

CHATML_MARK = "<|im_start|>"
FILL = "{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>\n{{- else }}"
PLAIN = "{{ .Prompt }}"  # what Ollama tells of a file whose template it does not know
# prompt/chat.py's own ChatML, which is Qwen2.5's.
CHATML = """\
{{- if .Tools }}<|im_start|>system
{{ if .System }}{{ .System }}

{{ end }}# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{{ range .Tools }}{{ . }}
{{ end }}</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{{ end }}
{{- range .Messages }}
{{- if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ else if not (and $.Tools (eq .Role "system")) }}<|im_start|>{{ .Role }}
{{ .Content }}
{{- range .ToolCalls }}
<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
</tool_call>
{{- end }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
"""


def go_template(chat_template: str, *, fills: bool) -> str:
    """For a model with this Jinja template. fills: its capabilities have "insert"."""
    talk = CHATML if CHATML_MARK in chat_template else PLAIN
    return f"{FILL}{talk}{{{{- end }}}}" if fills else talk
