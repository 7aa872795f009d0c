"""Shapes to measure a machine on: few, and spread over what bounds a kernel: start-up, bandwidth, cache, arithmetic."""

from typing import NamedTuple

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
"""Rows of products: one token, a batch, a prompt."""

WEIGHTS = (
    *((64, 64), (256, 256), (1024, 256), (256, 1024), (768, 768), (1024, 1024)),
    *((512, 2048), (3072, 768), (768, 3072), (2048, 2048), (4096, 1024), (1024, 4096)),
)
"""Columns n and contracted dimension k of products."""


class Product(NamedTuple):
    """`b` products of m x k and k x n."""

    m: int
    n: int
    k: int
    b: int = 1


class Convolution(NamedTuple):
    """A square filter over square images, padded to keep their size before the stride."""

    images: int
    channels_in: int
    channels_out: int
    filter: int
    size: int
    stride: int = 1

    def product(self) -> Product:
        """The product of the same arithmetic."""
        out = (self.size + self.stride - 1) // self.stride
        return Product(self.images * out * out, self.channels_out, self.channels_in * self.filter**2)


class Stream(NamedTuple):
    """An operation over rows x cols elements."""

    op: str
    rows: int
    cols: int


class Attention(NamedTuple):
    """Softmax attention: causal over q tokens, one token over kv, or without a mask."""

    batch: int
    heads: int
    kv_heads: int
    q: int
    kv: int
    head_dim: int
    causal: bool


def products() -> list[Product]:
    """Each number of rows with four weights, so that both small and large ones meet all regimes; then batches."""
    single = [Product(m, *WEIGHTS[(i + 3 * j) % len(WEIGHTS)]) for i, m in enumerate(ROWS) for j in range(4)]
    written_out = [(128, 128, 64), (128, 64, 128), (1, 512, 64), (1, 64, 512), (512, 512, 64), (64, 64, 64)]
    return single + [Product(*shape, b) for shape in written_out for b in (8, 48)]


def convolutions() -> list[Convolution]:
    """Filters of 3 x 3 (and the 7 x 7 that networks begin with) and of 1 x 1 as residual networks have them."""
    stages = ((64, 56), (128, 28), (256, 14), (512, 7))
    wide = [Convolution(b, c, c, 3, size, s) for c, size in stages for b, s in ((1, 1), (4, 1), (1, 2), (2, 1), (2, 2))]
    wide += [Convolution(b, 3, 64, 7, 224, 2) for b in (1, 2)]
    narrow = [Convolution(b, c, 4 * c, 1, size) for c, size in stages for b in (1, 2, 4)]
    narrow += [Convolution(b, 4 * c, c, 1, size) for c, size in stages for b in (1, 2, 4)]
    narrow += [Convolution(b, 4 * c, 8 * c, 1, size, 2) for c, size in stages[:3] for b in (1, 2)]
    return wide + narrow


def streams() -> list[Stream]:
    """Sizes from a few rows in the innermost cache to beyond the last one."""
    sizes = ((1, 512), (8, 512), (16, 1024), (64, 1024), (256, 1024), (512, 2048), (2048, 1024), (4096, 2560))
    found = [Stream(op, *size) for op in ("add", "mul", "relu", "silu", "gelu", "copy") for size in sizes]
    rows = ((1, 64), (1, 512), (1, 4096), (12, 128), (16, 1024), (64, 64), (64, 768), (128, 1024), (96, 2048))
    rows += ((256, 512), (512, 512), (512, 1024), (768, 256), (1024, 768), (1024, 1024), (1536, 128), (2048, 1024))
    rows += ((2048, 2048), (4096, 256), (4096, 1024), (6144, 64), (12288, 512))
    return found + [Stream(op, *size) for op in ("softmax", "layernorm", "emb") for size in rows]


def attentions() -> list[Attention]:
    """Prompts, encoders, and one new token with and without shared key heads."""
    lengths = (16, 64, 128, 256, 512, 1024)
    heads = ((1, 8, 64), (4, 8, 64), (1, 16, 64), (1, 8, 128))
    full = [Attention(b, h, h, s, s, d, causal) for causal in (True, False) for b, h, d in heads for s in lengths]
    contexts = (32, 128, 256, 512, 1024, 2048)
    one = [Attention(b, h, kv, 1, s, d, False) for b, h, d in heads for s in contexts for kv in (h, h // 4)]
    return full + one
