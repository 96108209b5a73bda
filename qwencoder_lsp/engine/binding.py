"""The only module that touches llama.cpp: vocabulary, model, contexts, decode. Token ids and NumPy arrays in and out.

One thread makes all calls on a Model and its contexts; another thread may only call `AbortFlag.raise_`.
The C structures are those of the pinned llama-cpp-python; `probe_layout` refuses any other.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as lib

from qwencoder_lsp.engine.architecture import Yarn
from qwencoder_lsp.engine.devices import Device
from qwencoder_lsp.engine.vocabulary import SpecialTokens
from qwencoder_lsp.errors import EngineFailed, RequestError

log = logging.getLogger(__name__)

OK, NO_SLOT, ABORTED = 0, 1, 2  # llama_decode: "0 - success, 1 - could not find a KV slot, 2 - aborted"

_SIZES = {"llama_model_params": 80, "llama_context_params": 160, "llama_batch": 56}
# ggml_log_level: 1 debug, 2 info, 3 warning, 4 error, 5 continuation. llama.cpp warns of oddities in every Qwen file, and calls each abort an
# error; what really fails is reported by a status code.
_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.INFO, 5: logging.DEBUG}
_log_references: list[Any] = []
_abort_works: dict[bool, bool] = {}  # what the probe found, on a GPU and without; two decodes that a model woken up need not repeat


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

    @property
    def pieces(self) -> list[bytes]:
        """The bytes of every token. Takes about 0.3 s."""
        return [self.piece(token) for token in range(self.n_vocab)]

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


def build_info() -> str:
    """Which instruction sets and back ends this build of llama.cpp uses."""
    return str(lib.llama_print_system_info().decode("utf-8", "replace").strip())


def version() -> str:
    """The version of llama-cpp-python."""
    return importlib.metadata.version("llama-cpp-python")


# enum ggml_backend_dev_type in ggml-backend.h
_KINDS = {0: "CPU", 1: "GPU", 2: "integrated GPU", 3: "accelerator"}


def devices() -> tuple[Device, ...]:
    """What this build can compute on, here; empty where the library does not export the question."""
    try:
        ggml = {name: getattr(lib._lib, f"ggml_backend_{name}") for name in _DEVICE_CALLS}
    except AttributeError:  # Windows finds no symbol of a library through another
        return ()
    for name, (result, arguments) in _DEVICE_CALLS.items():
        ggml[name].restype, ggml[name].argtypes = result, arguments
    found = []
    for place in range(ggml["dev_count"]()):
        device = ggml["dev_get"](place)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml["dev_memory"](device, ctypes.byref(free), ctypes.byref(total))
        backend = ggml["reg_name"](ggml["dev_backend_reg"](device)).decode()
        name = ggml["dev_description"](device).decode("utf-8", "replace").strip()
        found.append(Device(backend, name, _KINDS.get(ggml["dev_type"](device), "other"), total.value, free.value))
    return tuple(found)


_size_p = ctypes.POINTER(ctypes.c_size_t)
_DEVICE_CALLS: dict[str, tuple[Any, list[Any]]] = {
    "dev_count": (ctypes.c_size_t, []),
    "dev_get": (ctypes.c_void_p, [ctypes.c_size_t]),
    "dev_memory": (None, [ctypes.c_void_p, _size_p, _size_p]),
    "dev_backend_reg": (ctypes.c_void_p, [ctypes.c_void_p]),
    "reg_name": (ctypes.c_char_p, [ctypes.c_void_p]),
    "dev_description": (ctypes.c_char_p, [ctypes.c_void_p]),
    "dev_type": (ctypes.c_int, [ctypes.c_void_p]),
}


def build_id() -> str:
    """What KV bytes depend on besides the model: llama.cpp's version and back ends."""
    return f"{version()} {build_info()}"


class AbortFlag:
    """Breaks off a running decode from another thread: two bytes that llama.cpp looks at once per graph node.

    The callback is libc's `strlen` over them: no GIL, no compiled helper. Its size_t result is read as a C bool (the low byte), which is not
    promised everywhere, and GPU back ends ignore it; so the first Context tries it in both directions before it is relied on.
    """

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(2)
        self.data = ctypes.cast(self._bytes, ctypes.c_void_p)
        try:
            self.callback: Any = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
        except (AttributeError, TypeError, OSError):  # TypeError: Windows has no CDLL(None)
            self.callback = None

    def clear(self) -> None:
        """Forget earlier calls of `raise_`. Look for reasons to abort after this and before the decode, so that none is missed."""
        self._bytes[0] = b"\0"

    def raise_(self) -> None:
        """Make the running (or the next) decode return ABORTED soon. The only method for other threads."""
        self._bytes[0] = b"\1"


class Model:
    """Weights and vocabulary, shared by any number of contexts. Raises EngineFailed when the file cannot be loaded."""

    def __init__(self, path: Path, gpu_layers: int) -> None:
        probe_layout()
        quiet_native_log()
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        self.on_gpu = gpu_available() and gpu_layers != 0
        self.path = path
        self.handle = _load(path, params)
        self.vocabulary = Vocabulary(self.handle)
        self.bytes: int = lib.llama_model_size(self.handle)  # of all parts of a split file
        self.abort_flag = AbortFlag()

    def metadata(self, key: str) -> str:
        """The value of a key of the GGUF file as text; "" where there is none."""
        return _metadata(self.handle, key)

    def load_adapter(self, path: Path) -> Any:
        """A handle of the LoRA adapter in that GGUF file, for `Context.set_adapters`. Raises RequestError when it is not made for this model."""
        adapter = lib.llama_adapter_lora_init(self.handle, str(path).encode())
        if not adapter:
            raise RequestError(
                f"{path.name} cannot be used as a LoRA adapter of {self.path.name}.",
                "Use an adapter that was trained for this model, in GGUF format.",
            )
        return adapter

    def free_adapter(self, adapter: Any) -> None:
        """Free it; no context may have it set. Closing the model frees all."""
        lib.llama_adapter_lora_free(adapter)

    def close(self) -> None:
        """Free the weights; every context must be closed before."""
        lib.llama_model_free(self.handle)


class Context:
    """One KV memory on a model, shared by up to `n_seq` sequences; sequence ids are 0 to n_seq - 1.

    n_outputs: most rows with logits in one decode. yarn: how positions are scaled; None: as the model was trained. Raises EngineFailed without the
    memory.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_seq: int,
        n_threads: int,
        n_ubatch: int,
        n_outputs: int,
        n_batch: int = 2048,
        yarn: Yarn | None = None,
    ) -> None:
        self._model = model  # keeps it alive
        self.vocabulary = model.vocabulary
        self.on_gpu = model.on_gpu
        c = lib.llama_context_default_params()
        c.n_ctx, c.n_batch, c.n_ubatch, c.n_seq_max = n_ctx, max(n_batch, n_ubatch), n_ubatch, n_seq
        c.n_threads = c.n_threads_batch = n_threads
        c.n_outputs_max = n_outputs  # the default reserves logits for each token of a batch: 0.3 GB with this vocabulary
        c.kv_unified = True  # without it seq_cp copies whole buffers
        c.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED  # without it foreign cells slow decode up to 2.5 times
        self.rope = "native"
        if yarn:
            c.rope_scaling_type, c.rope_freq_scale, c.yarn_orig_ctx = lib.LLAMA_ROPE_SCALING_TYPE_YARN, 1 / yarn.factor, yarn.original
            self.rope = f"yarn {yarn.factor:g} over {yarn.original}"
        self._ctx = _init_context(model, c)
        self._memory = lib.llama_get_memory(self._ctx)
        self.n_ctx: int = lib.llama_n_ctx(self._ctx)
        self.n_ubatch = n_ubatch
        self.n_outputs = n_outputs
        self.n_threads = n_threads
        self.batch = Batch(c.n_batch)
        self._adapters: tuple[tuple[Any, float], ...] = ()
        self._rows: dict[int, npt.NDArray[np.float32]] = {}  # views of rows of logits, by address: they are made slowly, and used for each token
        self.can_abort = self._install_abort()

    def decode(self) -> int:
        """Run what is in `batch`. Returns OK, NO_SLOT (nothing was done) or ABORTED.

        After ABORTED the finished micro-batches stay: ask `length`. Raises EngineFailed when llama.cpp reports anything else.
        """
        status = lib.llama_decode(self._ctx, self.batch.native)
        if status < OK or status > ABORTED:
            raise EngineFailed(f"llama.cpp failed with code {status}.", "See: qwencoder-lsp logs")
        return int(status)

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """The logits of a row of the last batch that asked for them, shape (n_vocab,); a view that the next decode overwrites."""
        pointer = lib.llama_get_logits_ith(self._ctx, row)
        address = ctypes.cast(pointer, ctypes.c_void_p).value or 0
        view = self._rows.get(address)
        if view is None:
            if len(self._rows) > self.n_outputs:  # llama.cpp has moved its buffer
                self._rows.clear()
            view = self._rows[address] = np.ctypeslib.as_array(pointer, shape=(self.vocabulary.n_vocab,))
        return view

    def set_threads(self, count: int) -> None:
        """Compute with so many threads from the next decode on."""
        if count != self.n_threads:
            lib.llama_set_n_threads(self._ctx, count, count)
            self.n_threads = count

    def set_adapters(self, adapters: Sequence[tuple[Any, float]]) -> None:
        """Compute under these adapters (handles of Model.load_adapter, with their scales) from the next decode on. Raises EngineFailed."""
        if tuple(adapters) == self._adapters:
            return
        handles = (lib.llama_adapter_lora_p_ctypes * len(adapters))(*(handle for handle, _ in adapters))
        if lib.llama_set_adapters_lora(self._ctx, handles, len(adapters), (ctypes.c_float * len(adapters))(*(scale for _, scale in adapters))):
            raise EngineFailed("llama.cpp does not take the LoRA adapter.", "See: qwencoder-lsp logs")
        self._adapters = tuple(adapters)

    def length(self, sequence: int) -> int:
        """How many tokens of `sequence` the memory holds."""
        return int(lib.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def truncate(self, sequence: int, length: int) -> None:
        """Forget all of `sequence` from position `length` on."""
        lib.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let `target` also own the cells of positions start to end - 1 of `source`; no data moves."""
        lib.llama_memory_seq_cp(self._memory, source, target, start, end)

    def read(self, sequence: int) -> npt.NDArray[np.uint8]:
        """The KV of all cells of `sequence` as bytes that `write` understands, on this model with the same KV type and rope setting."""
        data = np.empty(lib.llama_state_seq_get_size(self._ctx, sequence), np.uint8)
        written = lib.llama_state_seq_get_data(self._ctx, data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)), data.size, sequence)
        return data[:written]

    def write(self, sequence: int, data: npt.NDArray[np.uint8]) -> bool:
        """Replace `sequence` by what `read` gave. False when there is no room for it or it is not fit for this context."""
        return bool(lib.llama_state_seq_set_data(self._ctx, data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)), data.size, sequence))

    def close(self) -> None:
        """Free the memory; the model stays."""
        lib.llama_free(self._ctx)

    def _install_abort(self) -> bool:
        flag = self._model.abort_flag
        if flag.callback is None:
            return False
        lib.llama_set_abort_callback(self._ctx, flag.callback, flag.data)
        if self.on_gpu not in _abort_works:
            flag.raise_()
            stopped = self._probe() == ABORTED
            flag.clear()
            _abort_works[self.on_gpu] = stopped and self._probe() == OK
            self.truncate(0, 0)
        if not _abort_works[self.on_gpu]:
            lib.llama_set_abort_callback(self._ctx, lib.ggml_abort_callback(), None)
        return _abort_works[self.on_gpu]

    def _probe(self) -> int:
        self.batch.clear()
        self.batch.add([0], 0, 0, 0)
        return self.decode()


class Embedder:
    """Texts to vectors by the mean of the last layer, in a small context of its own: asking for embeddings changes the whole graph."""

    def __init__(self, model: Model, *, n_ctx: int, n_threads: int) -> None:
        self._model = model
        c = lib.llama_context_default_params()
        c.n_ctx = c.n_batch = c.n_ubatch = n_ctx  # the mean is taken within a micro-batch
        c.n_seq_max = 1
        c.n_threads = c.n_threads_batch = n_threads
        c.embeddings, c.pooling_type = True, lib.LLAMA_POOLING_TYPE_MEAN
        c.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self._ctx = _init_context(model, c)
        if model.abort_flag.callback is not None:
            lib.llama_set_abort_callback(self._ctx, model.abort_flag.callback, model.abort_flag.data)
        self._batch = Batch(n_ctx)
        self._size: int = lib.llama_model_n_embd_out(model.handle)
        self.n_ctx = n_ctx

    def embed(self, tokens: Sequence[int]) -> npt.NDArray[np.float32] | None:
        """The unit vector of 1 to n_ctx tokens, shape (n_embd,); None when it was aborted. Raises EngineFailed."""
        lib.llama_memory_clear(lib.llama_get_memory(self._ctx), False)
        self._batch.clear()
        self._batch.add(tokens, 0, 0, len(tokens))
        status = lib.llama_decode(self._ctx, self._batch.native)
        if status == ABORTED:
            return None
        if status != OK:
            raise EngineFailed(f"llama.cpp failed with code {status}.", "See: qwencoder-lsp logs")
        vector = np.ctypeslib.as_array(lib.llama_get_embeddings_seq(self._ctx, 0), shape=(self._size,)).copy()
        unit: npt.NDArray[np.float32] = vector / (np.linalg.norm(vector) or 1.0)
        return unit

    def close(self) -> None:
        """Free the memory; the model stays."""
        lib.llama_free(self._ctx)


def _init_context(model: Model, params: Any) -> Any:
    context = lib.llama_init_from_model(model.handle, params)
    if not context:
        raise EngineFailed(
            f"There is not enough memory for {model.path.name} with a context of {params.n_ctx} tokens.",
            "Lower engine.context or take a smaller model.",
        )
    return context


class Batch:
    """A llama_batch over NumPy arrays, refilled for each decode."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._token = np.zeros(size, np.int32)
        self._pos = np.zeros(size, np.int32)
        self._count = np.ones(size, np.int32)
        self._seq = np.zeros(size, np.int32)
        self._logits = np.zeros(size, np.int8)
        first, width = self._seq.ctypes.data, self._seq.itemsize
        kind = ctypes.POINTER(lib.llama_seq_id)
        self._seq_pointers = (kind * (size + 1))(*(ctypes.cast(first + i * width, kind) for i in range(size)))
        self.native = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=self._pos.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._count.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._seq_pointers,
            logits=self._logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def __len__(self) -> int:
        return int(self.native.n_tokens)

    def clear(self) -> None:
        """Start over."""
        self.native.n_tokens = 0

    def add(self, tokens: Sequence[int] | npt.NDArray[np.int32], position: int, sequence: int, outputs: int) -> int:
        """Append `tokens` at `position`, ... of `sequence`; the last `outputs` rows get logits. Returns the row of the first token."""
        start = self.native.n_tokens
        end = start + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._seq[start:end] = sequence
        self._logits[start : end - outputs] = 0
        self._logits[end - outputs : end] = 1
        self.native.n_tokens = end
        return int(start)
