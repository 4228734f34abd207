"""The model for text: a bag of hashed words and bigrams."""

from __future__ import annotations

from torch import Tensor, nn


class FastText(nn.Module):
    """The weighted sum of the embeddings of a text's words and bigrams, and a linear layer."""

    def __init__(self, buckets: int, num_classes: int, *, dim: int = 10) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(buckets, dim, mode="sum")
        self.classifier = nn.Linear(dim, num_classes)
        nn.init.uniform_(self.embedding.weight, -1 / dim, 1 / dim)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        """Logits (n, classes) of bags.

        Args:
            indices: (tokens,) buckets of all the texts of the batch, end to end.
            offsets: (n,) where each text begins in `indices`.
            weights: (tokens,) weight of each; 1 / length makes the sum a mean.
        """
        return self.classifier(self.embedding(indices, offsets, per_sample_weights=weights))
