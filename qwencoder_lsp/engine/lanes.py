"""What is in memory while a model is loaded: weights, the contexts ("lanes"), the embedder, the constraint compiler.

The `typing` lane holds completions; `bulk` (chats, reviews) is made in the size that is wanted, and so is `long`, for what is longer than the model
was trained for: its positions are scaled by YaRN, which does short prompts no good. Each is made when first wanted and when there is memory for it,
so that a model that was unloaded is back soon. Their cells are apart, so that a review can never push out what a keystroke needs; all spill into
one host tier.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from qwencoder_lsp.engine.adapters import Adapters, AdapterSet
from qwencoder_lsp.engine.architecture import kv_bytes_per_token, yarn_of
from qwencoder_lsp.engine.binding import Context, Embedder, Model, build_id
from qwencoder_lsp.engine.constraint import ConstraintCompiler
from qwencoder_lsp.engine.draftmodel import DraftModel
from qwencoder_lsp.engine.hosttier import HostTier
from qwencoder_lsp.engine.kvpool import KVPool
from qwencoder_lsp.engine.memory import Room, demand, give_back_pages, room
from qwencoder_lsp.engine.roots import fingerprint, root_of
from qwencoder_lsp.errors import EngineFailed, RequestError

log = logging.getLogger(__name__)

TYPING, BULK, LONG = "typing", "bulk", "long"
N_SEQ = 32  # requests that run at once in a lane, and prefixes it remembers; one more is the pool's own
MAX_OUTPUTS = 64  # rows with logits in one step
MAX_ROWS = 2048
UBATCH = {TYPING: 128, BULK: 256, LONG: 256}  # on a CPU: an aborted prefill keeps whole micro-batches, larger ones compute a little faster
UBATCH_GPU = 512
BULK_CTX = 8192  # at first; more costs time to clear when it is made, and a longer prompt makes it larger
# Foreign cells slow attention down (4096 of them decode by 8 %, prefill by 13 %), and 1000 tokens leave for host memory in 9 ms and are back in 4.
IDLE_CELLS_CPU = 1024
EMBED_CTX = 2048


class Lane:
    """One context and the account of its cells. root: what its KV is made under with a set of adapters."""

    def __init__(self, context: Context, pool: KVPool, root: Callable[[AdapterSet], bytes]) -> None:
        self.context, self.pool, self.root = context, pool, root

    def close(self) -> None:
        """Move everything to host memory and free the context."""
        self.pool.spill()
        self.context.close()


class Lanes:
    """Everything that goes when the model is unloaded. `tier` outlives it."""

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int,
        threads: int,
        n_ctx: int,
        max_ctx: int,
        tier: HostTier,
        on_ready: Callable[[], None],
        memory_limit: int = 0,
        draft: Path | None = None,
    ) -> None:
        """n_ctx: size of the typing lane; max_ctx: the most tokens of a prompt with its answer, as far as the model can; memory_limit: bytes for
        weights and all lanes, 0 for what the machine has; draft: file of a model that writes ahead. Raises EngineFailed."""
        start = time.monotonic()
        self._threads, self._memory_limit, self.tier = threads, memory_limit, tier
        self.model = Model(path, gpu_layers)
        self._kv_bytes = kv_bytes_per_token(self.model.metadata)
        self.yarn = yarn_of(self.model.metadata)
        self.draft = self._drafts_by(draft, gpu_layers)
        give_back_pages()
        self._weights = self.model.bytes + (self.draft.bytes if self.draft else 0)
        self.vocabulary = self.model.vocabulary
        self.adapters = Adapters(self.model)
        self.constraints = ConstraintCompiler(self.vocabulary.constraint_tokenizer, self.vocabulary.n_vocab, on_ready, lambda: self.vocabulary.pieces)
        self._embedder: Embedder | None = None
        self._native = self.vocabulary.n_ctx_train or max(n_ctx, max_ctx)
        self._typing_ctx = min(n_ctx, self._native)
        self.most_tokens = max(self._typing_ctx, min(max_ctx, self.yarn.longest if self.yarn else self._native))
        self._lanes: dict[str, Lane] = {}
        self.load_ms = (time.monotonic() - start) * 1000

    @property
    def typing(self) -> Lane:
        """The lane of completions."""
        return self[TYPING]

    @property
    def can_abort(self) -> bool:
        """Whether a running step can be broken off."""
        return self.typing.context.can_abort

    def choose(self, wanted: str, tokens: int) -> str:
        """The lane for a request that would like to be in `wanted`, for a prompt with its answer of so many tokens."""
        if wanted == TYPING and tokens <= self._typing_ctx:
            return TYPING
        return BULK if tokens <= self._native else LONG

    def __getitem__(self, name: str) -> Lane:
        if name == TYPING and name not in self._lanes:
            left = self._room()
            if self._typing_ctx > left.cells(self._kv_bytes):
                raise EngineFailed(
                    f"A context of {self._typing_ctx:,} tokens takes {demand(self._typing_ctx, self._kv_bytes)}, and {left.why}.",
                    "Lower engine.context, close other programs, or take a smaller model.",
                )
            self._lanes[name] = self._make(name, self._typing_ctx)
        return self._lanes[name]

    @property
    def pools(self) -> dict[str, KVPool]:
        """The accounts of the lanes that are there."""
        return {name: lane.pool for name, lane in self._lanes.items()}

    def room_in(self, name: str, tokens: int) -> bool:
        """Whether lane `name` can hold so many tokens as it is."""
        if name == TYPING:
            return tokens <= self._typing_ctx
        return name in self._lanes and tokens <= self._lanes[name].context.n_ctx

    def grow(self, name: str, tokens: int) -> None:
        """Make lane `name` large enough for so many tokens, in place of a smaller one, whose sequences move to host memory.

        Raises RequestError when the model cannot hold so many, or there is no memory for them; then the lane is as it was.
        """
        if tokens > self.most_tokens:
            raise RequestError(
                f"The prompt and its answer need {tokens} tokens, and at most {self.most_tokens} fit.", "Shorten it, or raise engine.max_context."
            )
        old = self._lanes.get(name)
        given_back = old.context.n_ctx * self._kv_bytes if old else 0
        left = self._room(given_back)
        most = min(left.cells(self._kv_bytes), self.most_tokens, self.most_tokens if name == LONG else self._native)
        if tokens > most:
            raise RequestError(
                f"The prompt and its answer need {tokens:,} tokens, which take {demand(tokens, self._kv_bytes)}, and {left.why}.",
                f"Shorten it to {most:,} tokens, close other programs, or raise engine.memory_mb.",
            )
        if old:
            del self._lanes[name]
            old.close()
        size = min(most, max(BULK_CTX, 1 << (tokens - 1).bit_length()))
        self._lanes[name] = self._make(name, size)
        log.info("%s lane of %d tokens, %d MB", name, size, size * self._kv_bytes >> 20)

    def _room(self, given_back: int = 0) -> Room:
        """For one more lane. given_back: bytes of one that goes for it."""
        used = self._weights + sum(lane.context.n_ctx for lane in self._lanes.values()) * self._kv_bytes
        left = room(self._memory_limit, used, shared=not self.model.on_gpu)
        return replace(left, bytes=left.bytes + given_back)

    @property
    def embed_ctx(self) -> int:
        """Tokens of the longest text to embed."""
        return min(EMBED_CTX, self.vocabulary.n_ctx_train or EMBED_CTX)

    def embedder(self) -> Embedder:
        """Made when first wanted."""
        if self._embedder is None:
            self._embedder = Embedder(self.model, n_ctx=self.embed_ctx, n_threads=self._threads)
        return self._embedder

    def tidy(self) -> None:
        """Free adapters that nobody can want any more. No request may be running."""
        if self.adapters.stale:
            for lane in self._lanes.values():
                lane.context.set_adapters(())
            self.adapters.tidy()

    def close(self) -> None:
        """Free everything; computed prefixes move to host memory."""
        self.constraints.close()
        for lane in self._lanes.values():
            lane.close()
        if self._embedder:
            self._embedder.close()
        self.stop_drafts()
        self.model.close()

    def stop_drafts(self) -> None:
        """Go on without the draft model."""
        if self.draft:
            self.draft.close()
            self.draft = None

    def _drafts_by(self, file: Path | None, gpu_layers: int) -> DraftModel | None:
        try:
            return DraftModel(file, self.model, gpu_layers=gpu_layers, threads=self._threads) if file else None
        except EngineFailed as error:  # answers come without it too, only later
            log.warning("no drafts: %s", error)
            return None

    def _make(self, name: str, n_ctx: int) -> Lane:
        context = Context(
            self.model,
            n_ctx=n_ctx,
            n_seq=N_SEQ + 1,
            n_threads=self._threads,
            n_ubatch=UBATCH_GPU if self.model.on_gpu else UBATCH[name],
            n_outputs=MAX_OUTPUTS,
            n_batch=MAX_ROWS,
            yarn=self.yarn if name == LONG else None,
        )
        affordable = self.tier.budget >= n_ctx * self._kv_bytes
        idle = IDLE_CELLS_CPU if affordable and not self.model.on_gpu else None
        model, build, rope = fingerprint(self.model.path), build_id(), context.rope

        def root(adapters: AdapterSet) -> bytes:
            return root_of(model, build, rope, [(adapter.fingerprint, scale) for adapter, scale in adapters])

        return Lane(context, KVPool(context, N_SEQ, context.n_ctx, self.tier, idle), root)
