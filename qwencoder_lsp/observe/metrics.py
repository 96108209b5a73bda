"""Counters of the service in Prometheus' text format, with llama-server's names where it has the same figure. No text of any request comes here."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Of one gateway, since it started. The gauges are set by whoever writes them out."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._prompt = Counter("llamacpp:prompt_tokens", "Prompt tokens computed.", ["model"], registry=registry)
        self._prompt_s = Counter("llamacpp:prompt_seconds", "Time of prompt processing.", ["model"], registry=registry)
        self._predicted = Counter("llamacpp:tokens_predicted", "Tokens generated.", ["model"], registry=registry)
        self._predicted_s = Counter("llamacpp:tokens_predicted_seconds", "Time of generation.", ["model"], registry=registry)
        self._reused = Counter("qwencoder_prompt_tokens_reused", "Prompt tokens that were in memory already.", ["model"], registry=registry)
        self._drafted = Counter("qwencoder_tokens_drafted", "Tokens guessed by speculation.", ["model"], registry=registry)
        self._accepted = Counter("qwencoder_tokens_accepted", "Guessed tokens that were right.", ["model"], registry=registry)
        self._preempted = Counter("qwencoder_steps_preempted", "Steps broken off for more urgent work.", ["model"], registry=registry)
        self._requests = Counter("qwencoder_requests", "Requests that an engine ended, by reason.", ["model", "reason"], registry=registry)
        self._queue = Histogram("qwencoder_queue_seconds", "Time until the first step.", ["model"], buckets=SECONDS, registry=registry)
        self._total = Histogram("qwencoder_request_seconds", "Time in the engine.", ["model"], buckets=SECONDS, registry=registry)
        self._held = Gauge("qwencoder_prefix_cache_bytes", "Computed prefixes in host memory.", ["model"], registry=registry)
        self._processing = Gauge("llamacpp:requests_processing", "Requests running now.", registry=registry)
        self._resident = Gauge("qwencoder_model_loaded", "Whether the model is in memory.", ["model"], registry=registry)
        self._memory = Gauge("qwencoder_engine_resident_bytes", "Memory of the model's engine process.", ["model"], registry=registry)

    def ended(
        self, model: str, reason: str, *, computed: int, reused: int, generated: int, drafted: int, accepted: int, preempted: int,
        queue_ms: float, prefill_ms: float, decode_ms: float, held: int,
    ) -> None:  # fmt: skip
        """Note what an engine says of a request that has ended."""
        self._requests.labels(model, reason).inc()
        for counter, amount in (
            (self._prompt, computed), (self._prompt_s, prefill_ms / 1000), (self._predicted, generated), (self._predicted_s, decode_ms / 1000),
            (self._reused, reused), (self._drafted, drafted), (self._accepted, accepted), (self._preempted, preempted),
        ):  # fmt: skip
            counter.labels(model).inc(max(0, amount))
        self._held.labels(model).set(held)
        self._queue.labels(model).observe(queue_ms / 1000)
        self._total.labels(model).observe((queue_ms + prefill_ms + decode_ms) / 1000)

    def text(self, processing: int, models: dict[str, tuple[bool, int]]) -> bytes:
        """All of it. models: by name, whether it is in memory and the bytes of its engine process."""
        self._processing.set(processing)
        for name, (loaded, size) in models.items():
            self._resident.labels(name).set(loaded)
            self._memory.labels(name).set(size)
        return generate_latest(self._registry)
