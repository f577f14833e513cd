"""The Linear inside a MultiHeadAttention that makes queries, keys and values: its first one, whatever its name."""

from numpygpt.nn import Linear, MultiHeadAttention

PRODUCT = next(name for name, part in MultiHeadAttention(2, 1).named_modules() if isinstance(part, Linear))


def product_of(attention):
    return getattr(attention, PRODUCT)
