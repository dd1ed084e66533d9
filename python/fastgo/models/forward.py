"""What a model's forward pass is given.

Shapes: rows is the number of tokens of this pass; all activations are (rows, width) float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastgo.graph.dag import Tensor
from fastgo.models.config import ModelConfig
from fastgo.ops.matmul import matmul

Product = Callable[[Tensor, Tensor], Tensor]
"""Of inputs (rows, columns) and a matrix (outputs, columns), in this order."""


@dataclass(frozen=True)
class LayerCache:
    """Keys and values of one layer: (num_sequences, num_key_value_heads, capacity, head_dim)."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Forward:
    """Inputs of a forward pass.

    `weight(name)` gives a weight by its Hugging Face name; `tokens`, `positions` and `sequences` (whose cache a row
    belongs to) are (rows,) int32. `rope` and `local_rope` are (head_dim / 2,) float32, radians a position.
    `output_rows` selects the rows whose logits are wanted; `product` multiplies them with the output matrix.
    """

    config: ModelConfig
    weight: Callable[[str], Tensor]
    tokens: Tensor
    positions: Tensor
    sequences: Tensor
    rope: Tensor
    local_rope: Tensor | None
    cache: list[LayerCache]
    output_rows: range
    product: Product = field(default=matmul)

    def layer_weight(self, layer: int, name: str) -> Tensor:
        """The weight `name` of a layer, without its `.weight`."""
        return self.weight(f"model.layers.{layer}.{name}.weight")

    def project(self, layer: int, name: str, x: Tensor) -> Tensor:
        """x (rows, inputs) through the matrix `name` of a layer, and its bias where the model has one."""
        return self.project_all(layer, (name,), x)[0]

    def project_all(self, layer: int, names: Sequence[str], x: Tensor) -> list[Tensor]:
        """x through several matrices, in the order of their names."""
        biases = [
            self.weight(f"model.layers.{layer}.{name}.bias") if name in self.config.biases else None for name in names
        ]
        return [matmul(x, self.layer_weight(layer, name), bias) for name, bias in zip(names, biases, strict=True)]

    def read_later(self, layer: int, x: Tensor) -> Tensor:
        """The rows of x that are read once a layer has cached its keys and values: of the last one, `output_rows`."""
        if layer < self.config.num_hidden_layers - 1 or len(self.output_rows) == x.shape[0]:
            return x
        return x.rows(self.output_rows.start, self.output_rows.stop)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of x, the rows that the last layer has left."""
        return self.product(x, self.head())

    def head(self) -> Tensor:
        """The output matrix: the embedding table where they are tied."""
        return self.weight("model.embed_tokens.weight" if self.config.tie_word_embeddings else "lm_head.weight")
