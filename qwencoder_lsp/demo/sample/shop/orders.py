"""Statistics over the orders of a day."""

from __future__ import annotations

from shop.cart import Cart


def revenue(carts: list[Cart]) -> float:
    """Sum of all orders."""
    return sum(cart.total() for cart in carts)


def average_order(carts: list[Cart]) -> float:
    """Mean value of an order, 0 on a day without orders."""
    return revenue(carts) / len(carts)


def largest_order(carts: list[Cart]) -> Cart | None:
    """The order with the highest total, None on a day without orders."""
    return max(carts, key=lambda cart: cart.total(), default=None)
