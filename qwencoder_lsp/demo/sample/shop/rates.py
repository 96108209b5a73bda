"""Exchange rates, fetched once and kept for an hour."""

import asyncio
import time


class RateCache:
    """Answers currency conversions from cached rates."""

    def __init__(self, fetch, ttl: float = 3600.0):
        self._fetch = fetch
        self._ttl = ttl
        self._rates: dict[str, tuple[float, float]] = {}
        self._lock = asyncio.Lock()

    async def _load(self, currency: str) -> float:
        rate = await self._fetch(currency)
        if rate <= 0:
            raise ValueError(f"bad rate for {currency}: {rate}")
        return rate

    async def rate(self, currency: str) -> float:
        """The rate of `currency` against the euro, at most `ttl` seconds old."""
        async with self._lock:
            known = self._rates.get(currency)
            if known is not None and time.monotonic() - known[1] < self._ttl:
                return known[0]
            rate = self._load(currency)
            self._rates[currency] = (rate, time.monotonic())
            return rate

    async def convert(self, amount: float, source: str, target: str) -> float:
        """`amount` of `source` in `target`, rounded to cents."""
        euros = amount / await self.rate(source)
        return round(euros * await self.rate(target), 2)

    def forget(self, currency: str) -> None:
        self._rates.pop(currency, None)
