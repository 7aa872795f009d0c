"""Small models in plain PyTorch with random weights: a Llama, a BERT and a ResNet, for the benchmark of this host."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.Module):
    """x / rms(x) * weight, written out as Llama's reference does."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the last dimension."""
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class LlamaLayer(nn.Module):
    """Attention with shared key heads and rotary positions, then a gated feed-forward network."""

    def __init__(self, hidden: int, heads: int, kv_heads: int, inner: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dim = heads, kv_heads, hidden // heads
        self.norm1, self.norm2 = RMSNorm(hidden), RMSNorm(hidden)
        self.q = nn.Linear(hidden, hidden, bias=False)
        self.k = nn.Linear(hidden, kv_heads * self.dim, bias=False)
        self.v = nn.Linear(hidden, kv_heads * self.dim, bias=False)
        self.o = nn.Linear(hidden, hidden, bias=False)
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: tuple[Tensor, Tensor] | None) -> Tensor:
        """One layer; with a cache, its keys and values come before the new ones."""
        batch, length, _ = x.shape
        y = self.norm1(x)
        q = self._rotate(self.q(y).view(batch, length, self.heads, self.dim).transpose(1, 2), cos, sin)
        k = self._rotate(self.k(y).view(batch, length, self.kv_heads, self.dim).transpose(1, 2), cos, sin)
        v = self.v(y).view(batch, length, self.kv_heads, self.dim).transpose(1, 2)
        if cache is not None:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=cache is None, enable_gqa=True)
        x = x + self.o(out.transpose(1, 2).reshape(batch, length, -1))
        y = self.norm2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    @staticmethod
    def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Llama(nn.Module):
    """A decoder of a few layers."""

    def __init__(self, layers: int, hidden: int, heads: int, kv_heads: int, inner: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(LlamaLayer(hidden, heads, kv_heads, inner) for _ in range(layers))
        self.norm, self.head = RMSNorm(hidden), nn.Linear(hidden, vocabulary, bias=False)
        self.kv_heads, self.dim = kv_heads, hidden // heads

    def forward(self, ids: Tensor, caches: list[tuple[Tensor, Tensor]] | None) -> Tensor:
        """Scores of the next token."""
        x = self.embed(ids)
        cos, sin = torch.ones(ids.shape[1], self.dim), torch.zeros(ids.shape[1], self.dim)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, caches[i] if caches else None)
        return self.head(self.norm(x[:, -1]))


class EncoderLayer(nn.Module):
    """A BERT layer: attention, then a feed-forward network, normalised after each."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(hidden, hidden) for _ in range(4))
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """One layer."""
        batch, length, hidden = x.shape
        q, k, v = (
            f(x).view(batch, length, self.heads, hidden // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        out = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, hidden)
        x = self.norm1(x + self.o(out))
        return self.norm2(x + self.down(functional.gelu(self.up(x))))


class Bottleneck(nn.Module):
    """Three convolutions around which the input is added."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        out = 4 * channels
        self.conv1, self.bn1 = nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out)
        wide = stride > 1 or channels_in != out
        self.skip = nn.Conv2d(channels_in, out, 1, stride, bias=False) if wide else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.skip(x))


def resnet() -> nn.Module:
    """The 16 blocks of a ResNet-50, for images of 224 x 224."""
    blocks: list[nn.Module] = []
    channels_in = 64
    for channels, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(Bottleneck(channels_in, channels, stride if i == 0 else 1))
            channels_in = 4 * channels
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)).eval()


def workloads() -> dict[str, Callable[[], Tensor]]:
    """A forward pass of each model by name."""
    torch.manual_seed(0)
    llama = Llama(layers=4, hidden=1024, heads=16, kv_heads=4, inner=2816, vocabulary=8192).eval()
    bert = nn.Sequential(*(EncoderLayer(768, 12) for _ in range(4))).eval()
    images = resnet()
    found: dict[str, Callable[[], Tensor]] = {}
    for tokens in (64, 256):
        ids = torch.randint(8192, (1, tokens))
        found[f"Llama, prefill of {tokens}"] = lambda ids=ids: llama(ids, None)
    for batch, context in ((1, 256), (8, 512)):
        ids = torch.randint(8192, (batch, 1))
        caches = [
            (torch.randn(batch, 4, context, 64), torch.randn(batch, 4, context, 64)) for _ in range(len(llama.layers))
        ]
        found[f"Llama, decode of {batch} at {context}"] = lambda ids=ids, caches=caches: llama(ids, caches)
    for batch, length in ((1, 128), (4, 128)):
        x = torch.randn(batch, length, 768)
        found[f"BERT, {batch} x {length}"] = lambda x=x: bert(x)
    image = torch.randn(1, 3, 224, 224)
    found["ResNet-50, one image"] = lambda: images(image)
    return found
