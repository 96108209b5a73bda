"""What is in memory while a model is loaded: weights, the contexts ("lanes"), the embedder, the constraint compiler.

The `typing` lane holds completions; `bulk` (chats, reviews, long prompts) is made in the size that is wanted. Each is made when first wanted, so
that a model that was unloaded is back soon. Their cells are apart, so that a review can never push out what a keystroke needs; both spill into one
host tier.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from qwencoder_lsp.engine.adapters import Adapters, AdapterSet
from qwencoder_lsp.engine.binding import Context, Embedder, Model, build_id
from qwencoder_lsp.engine.constraint import ConstraintCompiler
from qwencoder_lsp.engine.hosttier import HostTier
from qwencoder_lsp.engine.kvpool import KVPool
from qwencoder_lsp.engine.process import memory_bytes
from qwencoder_lsp.engine.roots import fingerprint, root_of
from qwencoder_lsp.errors import RequestError

log = logging.getLogger(__name__)

TYPING, BULK = "typing", "bulk"
N_SEQ = 32  # requests that run at once in a lane, and prefixes it remembers; one more is the pool's own
MAX_OUTPUTS = 64  # rows with logits in one step
MAX_ROWS = 2048
UBATCH = {TYPING: 128, BULK: 256}  # on a CPU: an aborted prefill keeps whole micro-batches, larger ones compute a little faster
UBATCH_GPU = 512
BULK_CTX = 8192  # at first; more costs time to clear when it is made, and a longer prompt makes it larger
# Foreign cells slow attention down (4096 of them decode by 8 %, prefill by 13 %), and 1000 tokens leave for host memory in 9 ms and are back in 4.
IDLE_CELLS_CPU = 1024
EMBED_CTX = 2048
MEMORY_SHARE = 0.25  # of the machine's memory, for the cells of one lane


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

    def __init__(self, path: Path, *, gpu_layers: int, threads: int, n_ctx: int, max_ctx: int, tier: HostTier, on_ready: Callable[[], None]) -> None:
        """n_ctx: size of the typing lane; max_ctx: the largest that bulk may become. Raises EngineFailed."""
        start = time.monotonic()
        self._threads, self._max_ctx, self.tier = threads, max_ctx, tier
        self.model = Model(path, gpu_layers)
        self.vocabulary = self.model.vocabulary
        self.adapters = Adapters(self.model)
        self.constraints = ConstraintCompiler(self.vocabulary.constraint_tokenizer, self.vocabulary.n_vocab, on_ready, lambda: self.vocabulary.pieces)
        self._embedder: Embedder | None = None
        self._typing_ctx = min(n_ctx, self.vocabulary.n_ctx_train or n_ctx)
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

    @property
    def most_tokens(self) -> int:
        """The longest prompt with its answer."""
        per_token = self.model.kv_bytes_per_token
        return max(self._typing_ctx, min(self._max_ctx, int(memory_bytes() * MEMORY_SHARE) // max(1, per_token)))

    def __getitem__(self, name: str) -> Lane:
        if name == TYPING and name not in self._lanes:
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

    def grow(self, tokens: int) -> None:
        """Make the bulk lane, in place of a smaller one, whose sequences move to host memory.

        Raises RequestError when no lane can hold so many tokens.
        """
        if tokens > self.most_tokens:
            raise RequestError(
                f"The prompt and its answer need {tokens} tokens, and at most {self.most_tokens} fit.", "Shorten it, or raise engine.max_context."
            )
        if old := self._lanes.pop(BULK, None):
            old.close()
        size = min(self.most_tokens, max(BULK_CTX, 1 << (tokens - 1).bit_length()))
        self._lanes[BULK] = self._make(BULK, size)
        log.info("bulk lane of %d tokens, %d MB", size, size * self.model.kv_bytes_per_token >> 20)

    def embedder(self) -> Embedder:
        """Made when first wanted."""
        if self._embedder is None:
            self._embedder = Embedder(self.model, n_ctx=min(EMBED_CTX, self.vocabulary.n_ctx_train or EMBED_CTX), n_threads=self._threads)
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
        self.model.close()

    def _make(self, name: str, n_ctx: int) -> Lane:
        context = Context(
            self.model,
            n_ctx=n_ctx,
            n_seq=N_SEQ + 1,
            n_threads=self._threads,
            n_ubatch=UBATCH_GPU if self.model.on_gpu else UBATCH[name],
            n_outputs=MAX_OUTPUTS,
            n_batch=MAX_ROWS,
        )
        affordable = self.tier.budget >= n_ctx * self.model.kv_bytes_per_token
        idle = IDLE_CELLS_CPU if affordable and not self.model.on_gpu else None
        model, build, rope = fingerprint(self.model.path), build_id(), context.rope

        def root(adapters: AdapterSet) -> bytes:
            return root_of(model, build, rope, [(adapter.fingerprint, scale) for adapter, scale in adapters])

        return Lane(context, KVPool(context, N_SEQ, context.n_ctx, self.tier, idle), root)
