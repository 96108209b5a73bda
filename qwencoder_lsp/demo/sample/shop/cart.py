"""A shopping cart."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Item:
    name: str
    price: float
    quantity: int = 1


@dataclass
class Cart:
    items: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Put an item into the cart."""
        self.items.append(item)

    def total(self) -> float:
        """What everything in the cart costs."""

    def most_expensive(self) -> Item | None:
        """The item with the highest price, or None if the cart is empty."""
