"""The only module that touches llama.cpp: vocabulary, model, context, decode. Token ids and NumPy arrays in and out.

One thread makes all calls on a Context; another thread may only call `Context.abort`.
The C structures are those of the pinned llama-cpp-python; `probe_layout` refuses any other.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as lib

from qwencoder_lsp.engine.vocabulary import SpecialTokens
from qwencoder_lsp.errors import EngineFailed, RequestError

log = logging.getLogger(__name__)

OK, NO_SLOT, ABORTED = 0, 1, 2  # llama_decode: "0 - success, 1 - could not find a KV slot, 2 - aborted"

_SIZES = {"llama_model_params": 80, "llama_context_params": 160, "llama_batch": 56}
# ggml_log_level: 1 debug, 2 info, 3 warning, 4 error, 5 continuation. llama.cpp warns of oddities in every Qwen file, and calls each abort an
# error; what really fails is reported by a status code.
_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.INFO, 5: logging.DEBUG}
_log_references: list[Any] = []


def probe_layout() -> None:
    """Check that the library writes the structures that we read.

    The sizes were measured against the headers of the pinned version, and the library's own defaults are read back from both ends of each
    structure: a field that moved shows as a wrong default. Raises EngineFailed.
    """
    for name, size in _SIZES.items():
        if ctypes.sizeof(getattr(lib, name)) != size:
            raise _foreign(f"{name} has {ctypes.sizeof(getattr(lib, name))} bytes, not {size}")
    context, model = lib.llama_context_default_params(), lib.llama_model_default_params()
    head = (context.n_ctx, context.n_batch, context.n_ubatch, context.type_k, context.type_v, context.flash_attn_type)
    tail = (context.embeddings, context.offload_kqv, context.op_offload, context.swa_full, context.kv_unified, context.n_samplers, context.ctx_other)
    if head != (512, 2048, 512, 1, 1, -1) or tail != (False, True, True, True, False, 0, None):
        raise _foreign("llama_context_params has other defaults")
    if (model.n_gpu_layers, model.split_mode, model.vocab_only, model.use_extra_bufts, model.load_mtp) != (-1, 1, False, True, False):
        raise _foreign("llama_model_params has other defaults")


def _foreign(what: str) -> EngineFailed:
    return EngineFailed(f"The installed llama-cpp-python does not fit: {what}.", "Install the version that qwencoder-lsp asks for.")


def quiet_native_log() -> None:
    """Send llama.cpp's own log to Python's logging instead of stderr."""
    if _log_references:
        return

    @lib.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]  # ctypes' decorator has no types
    def forward(level: int, text: bytes, _: Any) -> None:
        log.log(_LOG_LEVELS.get(level, logging.DEBUG), "llama.cpp: %s", text.decode("utf-8", "replace").rstrip())

    _log_references.append(forward)
    lib.llama_log_set(forward, ctypes.c_void_p(0))


class Vocabulary:
    """Text to ids and ids to bytes with a loaded model's vocabulary. Implements vocabulary.Tokenizer."""

    def __init__(self, model: Any) -> None:
        self._model = model  # keeps the native model alive
        self._vocab = lib.llama_model_get_vocab(model)
        self.n_vocab: int = lib.llama_vocab_n_tokens(self._vocab)
        self.n_ctx_train = int(_metadata(model, _metadata(model, "general.architecture") + ".context_length") or 0)
        self.chat_template = _metadata(model, "tokenizer.chat_template")
        self.special = self._special()

    def tokenize(self, text: str) -> list[int]:
        """Ids of plain text; special tokens in the text stay text."""
        return self._tokenize(text, parse_special=False)

    def tokenize_markup(self, text: str) -> list[int]:
        """Ids of trusted template text, in which special tokens count."""
        return self._tokenize(text, parse_special=True)

    def piece(self, token: int) -> bytes:
        """The token's bytes; empty for control tokens."""
        buffer = ctypes.create_string_buffer(512)
        size = lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[:size] if size > 0 else b""

    def constraint_tokenizer(self) -> Any:
        """llguidance's view of this vocabulary (an LLTokenizer). Takes one to two seconds; make it once."""
        from llguidance.llamacpp import lltokenizer_from_vocab

        return lltokenizer_from_vocab(self._vocab, n_vocab=self.n_vocab)

    def _tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        data = text.encode("utf-8", "surrogatepass")
        room = len(data) + 8  # a token covers at least one byte
        buffer = (lib.llama_token * room)()
        count = lib.llama_tokenize(self._vocab, data, len(data), buffer, room, False, parse_special)
        if count < 0:
            raise RequestError("The text cannot be tokenised.", "Report this with the file that it happened in.")
        ids: list[int] = buffer[:count]
        return ids

    def _special(self) -> SpecialTokens:
        vocab = self._vocab

        def known(token: int) -> int | None:
            return token if token >= 0 else None

        markers = prefix, suffix, middle, repo, sep = tuple(
            known(f(vocab))
            for f in (
                lib.llama_vocab_fim_pre,
                lib.llama_vocab_fim_suf,
                lib.llama_vocab_fim_mid,
                lib.llama_vocab_fim_rep,
                lib.llama_vocab_fim_sep,
            )
        )
        # Instruct files mark only some of these as end tokens; after any of them the answer is over (reference: Qwen2.5-Coder's FIM examples).
        end = {t for t in markers if t is not None}
        end |= {t for f in (lib.llama_vocab_eos, lib.llama_vocab_eot, lib.llama_vocab_fim_pad) if (t := f(vocab)) >= 0}
        for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
            ids = self.tokenize_markup(name)
            if len(ids) == 1 and lib.llama_vocab_is_control(vocab, ids[0]):
                end.add(ids[0])
        return SpecialTokens(prefix, suffix, middle, repo, sep, frozenset(end))


def _metadata(model: Any, key: str) -> str:
    buffer = ctypes.create_string_buffer(1 << 17)  # chat templates with tools reach tens of kilobytes
    size = lib.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if size >= 0 else ""


def load_tokenizer(path: Path) -> Vocabulary:
    """The vocabulary of a GGUF file, without its weights (about 0.3 s, 60 MB). Raises EngineFailed when the file is not one."""
    quiet_native_log()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    return Vocabulary(_load(path, params))


def _load(path: Path, params: Any) -> Any:
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise EngineFailed(f"{path.name} cannot be loaded as a GGUF model.", "Check the file, or fetch it again: qwencoder-lsp models pull NAME")
    return model


def gpu_available() -> bool:
    """Whether this build of llama.cpp can offload to a GPU."""
    return bool(lib.llama_supports_gpu_offload())


class Context:
    """A model with its weights, and one KV memory shared by up to `n_seq` sequences."""

    def __init__(self, path: Path, *, n_ctx: int, n_seq: int, n_threads: int, gpu_layers: int, n_ubatch: int) -> None:
        probe_layout()
        quiet_native_log()
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        self.on_gpu = gpu_available() and gpu_layers != 0
        self._model = _load(path, params)
        self.vocabulary = Vocabulary(self._model)
        c = lib.llama_context_default_params()
        c.n_ctx, c.n_batch, c.n_ubatch, c.n_seq_max = n_ctx, max(512, n_ubatch), n_ubatch, n_seq
        c.n_threads = c.n_threads_batch = n_threads
        c.n_outputs_max = n_seq  # the default reserves logits for each token of a batch: 0.3 GB with this vocabulary
        c.kv_unified = True  # without it seq_cp copies whole buffers
        c.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED  # without it foreign cells slow decode up to 2.5 times
        self._ctx = lib.llama_init_from_model(self._model, c)
        if not self._ctx:
            raise EngineFailed(
                f"There is not enough memory for {path.name} with a context of {n_ctx} tokens.", "Lower engine.context or take a smaller model."
            )
        self._memory = lib.llama_get_memory(self._ctx)
        self.n_ctx: int = lib.llama_n_ctx(self._ctx)
        self.n_batch: int = c.n_batch
        self._flag = ctypes.create_string_buffer(2)
        self._batch = _Batch(self.n_batch)
        self.can_abort = self._install_abort()

    def decode(self, tokens: Sequence[int], position: int, sequence: int, *, logits: bool) -> int:
        """Run `tokens` (at most n_batch) at `position`, ... of `sequence`; keep the last row's logits if asked. Returns OK, NO_SLOT or ABORTED.

        After ABORTED the finished micro-batches stay: ask `length`. Raises EngineFailed when llama.cpp reports anything else.
        """
        status = lib.llama_decode(self._ctx, self._batch.fill(tokens, position, sequence, logits=logits))
        if status < OK or status > ABORTED:
            raise EngineFailed(f"llama.cpp failed with code {status}.", "See: qwencoder-lsp logs")
        return int(status)

    def logits(self) -> npt.NDArray[np.float32]:
        """The logits kept by the last decode, shape (n_vocab,); a view that the next decode overwrites."""
        row = lib.llama_get_logits_ith(self._ctx, -1)
        return np.ctypeslib.as_array(row, shape=(self.vocabulary.n_vocab,))

    def arm(self) -> None:
        """Forget earlier calls of `abort`. Look for reasons to abort after this and before `decode`, so that none is missed."""
        self._flag[0] = b"\0"

    def abort(self) -> None:
        """Make the running (or the next) decode return ABORTED soon. The only method for other threads."""
        self._flag[0] = b"\1"

    def length(self, sequence: int) -> int:
        """How many tokens of `sequence` the memory holds."""
        return int(lib.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def truncate(self, sequence: int, length: int) -> None:
        """Forget all of `sequence` from position `length` on."""
        lib.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def copy(self, source: int, target: int, length: int) -> None:
        """Give the empty sequence `target` the first `length` tokens of `source`; no data moves."""
        lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def close(self) -> None:
        """Free the memory and the model."""
        lib.llama_free(self._ctx)
        lib.llama_model_free(self._model)

    def _install_abort(self) -> bool:
        """Let libc's `strlen` over a two-byte buffer be the abort callback: no GIL, no compiled helper.

        Its size_t result is read as a C bool (the low byte), which is not promised everywhere and GPU back ends ignore it; so it is tried
        once in both directions, and where it fails prefill goes in small chunks instead.
        """
        try:
            strlen = ctypes.CDLL(None).strlen
        except (AttributeError, TypeError, OSError):  # TypeError: Windows has no CDLL(None)
            return False
        self._strlen = ctypes.cast(strlen, lib.ggml_abort_callback)
        lib.llama_set_abort_callback(self._ctx, self._strlen, ctypes.cast(self._flag, ctypes.c_void_p))
        self.abort()
        stopped = self.decode([0], 0, 0, logits=False) == ABORTED
        self.arm()
        passed = self.decode([0], 0, 0, logits=False) == OK
        self.truncate(0, 0)
        if not (stopped and passed):
            lib.llama_set_abort_callback(self._ctx, lib.ggml_abort_callback(), None)
        return stopped and passed


class _Batch:
    """A llama_batch over NumPy arrays, refilled for each decode."""

    def __init__(self, size: int) -> None:
        self._token = np.zeros(size, np.int32)
        self._pos = np.zeros(size, np.int32)
        self._count = np.ones(size, np.int32)
        self._seq = np.zeros(1, np.int32)
        self._logits = np.zeros(size, np.int8)
        seq = self._seq.ctypes.data_as(ctypes.POINTER(lib.llama_seq_id))
        self._seq_pointers = (ctypes.POINTER(lib.llama_seq_id) * (size + 1))(*([seq] * size))
        self._batch = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=self._pos.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._count.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._seq_pointers,
            logits=self._logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, tokens: Sequence[int], position: int, sequence: int, *, logits: bool) -> Any:
        count = len(tokens)
        self._token[:count] = tokens
        self._pos[:count] = np.arange(position, position + count, dtype=np.int32)
        self._seq[0] = sequence
        self._logits[:count] = 0
        self._logits[count - 1] = logits
        self._batch.n_tokens = count
        return self._batch
