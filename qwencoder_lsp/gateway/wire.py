"""Requests and events as the JSON of gateway/protocol.py. Pure; the typing path goes through here four times per key."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from qwencoder_lsp.core.report import Timings, Usage
from qwencoder_lsp.errors import from_wire
from qwencoder_lsp.gateway.protocol import EVENT_NAMES, Event

_FIELDS: dict[type[Any], tuple[str, ...]] = {}  # dataclasses.fields builds its answer anew each time
_NAMES = {cls: name for name, cls in EVENT_NAMES.items()}


def members(value: Any) -> dict[str, Any]:
    """The fields of a dataclass value by name. Unlike dataclasses.asdict it copies nothing; `encode` takes values within values as they are."""
    cls = type(value)
    if (names := _FIELDS.get(cls)) is None:
        names = _FIELDS[cls] = tuple(field.name for field in fields(cls))
    return {name: getattr(value, name) for name in names}


def event_members(event: Event) -> dict[str, Any]:
    """An event as a JSON object."""
    found = members(event)
    for name in ("usage", "timings"):
        if name in found:
            found[name] = members(found[name])
    return {"type": _NAMES[type(event)], **found}


# json.dumps would make an encoder per call.
_encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=members)


def encode(value: Any) -> bytes:
    """`value` as JSON in one line; dataclass values in it become objects."""
    return _encoder.encode(value).encode("utf-8", "surrogatepass")


def event(fields: dict[str, Any]) -> Event:
    """The event that travelled as `fields`. Raises the QwencoderError that an "error" stands for."""
    kind = fields.pop("type")
    if kind == "error":
        raise from_wire(fields)
    if "usage" in fields:
        fields["usage"] = Usage(**fields["usage"])
    if "timings" in fields:
        fields["timings"] = Timings(**fields["timings"])
    for name in ("cuts", "line_ends"):
        if name in fields:
            fields[name] = tuple((int(at), float(value)) for at, value in fields[name])
    for name in ("logprobs", "tokens"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return EVENT_NAMES[kind](**fields)
