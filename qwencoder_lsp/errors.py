"""Every error that a user can meet.

    QwencoderError
    ├── SettingsError        a setting has a bad value or a file cannot be read
    ├── ModelError
    │   ├── ModelUnknown     no model of that name (the hint suggests the nearest)
    │   ├── ModelMissing     known, but not on this machine
    │   ├── ModelCorrupt     the file is truncated or its checksum differs
    │   └── ModelUnsuitable  it cannot do what is asked (for example fill in the middle)
    ├── DownloadError        a model could not be fetched
    │   └── LicenceNotAccepted  its licence is one that the user must see first
    ├── GatewayError         the gateway cannot be started or reached, or refuses us
    ├── EngineError
    │   ├── EngineFailed     the engine could not load the model
    │   ├── EngineCrashed    the engine process ended in mid-request
    │   └── EngineBusy       too much is waiting
    ├── IndexUnavailable     the index of a workspace cannot be opened or written
    ├── RequestError         the request itself is wrong (too long, bad schema)
    ├── AnswerError          the model's answer could not be used
    ├── StaleDocument        the document changed while the answer was made
    └── NotApplicable        there is nothing to do: it is so already, or what it is about is not there

`message` says what happened in one sentence, `hint` what to do next. Edge packages map `code` to HTTP and LSP numbers.
"""

from __future__ import annotations

from typing import ClassVar


class QwencoderError(Exception):
    """Base of all errors shown to users: one sentence in `message`, the next step in `hint`."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class SettingsError(QwencoderError):
    """A setting has a bad value, or a settings file cannot be read."""

    code = "settings"


class ModelError(QwencoderError):
    """Something is wrong with a model file or its name."""

    code = "model"


class ModelUnknown(ModelError):
    """No model of that name is in the catalogue and no such file exists."""

    code = "model_unknown"


class ModelMissing(ModelError):
    """The model is known but not installed."""

    code = "model_missing"


class ModelCorrupt(ModelError):
    """The model file is truncated or its checksum differs from the official one."""

    code = "model_corrupt"


class ModelUnsuitable(ModelError):
    """The model lacks an ability that the request needs."""

    code = "model_unsuitable"


class DownloadError(QwencoderError):
    """A model could not be fetched."""

    code = "download"


class LicenceNotAccepted(DownloadError):
    """The model is under a licence that the user must see and accept before it is fetched."""

    code = "licence"


class GatewayError(QwencoderError):
    """The gateway cannot be started or reached, or it refuses this client."""

    code = "gateway"


class EngineError(QwencoderError):
    """The engine cannot answer."""

    code = "engine"


class EngineFailed(EngineError):
    """The engine could not load the model."""

    code = "engine_failed"


class EngineCrashed(EngineError):
    """The engine process ended while it was working on the request."""

    code = "engine_crashed"


class EngineBusy(EngineError):
    """Too many requests are waiting; nothing was queued."""

    code = "engine_busy"


class IndexUnavailable(QwencoderError):
    """The index of a workspace cannot be opened or written."""

    code = "index"


class HistoryError(QwencoderError):
    """The history of requests cannot be read or written."""

    code = "history"


class RequestError(QwencoderError):
    """The request cannot be carried out as it stands."""

    code = "request"


class AnswerError(QwencoderError):
    """The model answered, but the answer could not be used."""

    code = "answer"


class StaleDocument(QwencoderError):
    """The document changed while the answer was made, so the answer was dropped."""

    code = "stale_document"


class NotApplicable(QwencoderError):
    """Nothing was done: things are as asked already, or what the command is about is not there."""

    code = "not_applicable"


def _tree(cls: type[QwencoderError]) -> dict[str, type[QwencoderError]]:
    found = {cls.code: cls}
    for child in cls.__subclasses__():
        found = {**_tree(child), **found}  # a subclass without a code of its own does not cross process borders
    return found


def from_wire(error: dict[str, str]) -> QwencoderError:
    """The error that another process reported as `{"code", "message", "hint"}`."""
    cls = _tree(QwencoderError).get(error.get("code", ""), QwencoderError)
    return cls(error.get("message", "unknown error"), error.get("hint", ""))


def to_wire(error: QwencoderError) -> dict[str, str]:
    """The JSON form in which errors cross process borders."""
    return {"code": error.code, "message": error.message, "hint": error.hint}
