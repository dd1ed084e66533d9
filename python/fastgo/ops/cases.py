"""Shapes on which every operation is tested and measured: plain data, edges first.

Each list holds one tuple a case, in the units of the names given beside it.
"""

from __future__ import annotations

# (rows, columns, outputs): whole and broken tiles of both, one row and more, odd numbers of blocks.
MATMUL_QUANTISED = (
    (1, 32, 1),
    (1, 96, 13),
    (1, 576, 64),
    (1, 640, 33),
    (1, 2048, 70),
    (2, 32, 9),
    (7, 96, 40),
    (8, 640, 32),
    (9, 576, 65),
    (17, 64, 100),
    (64, 320, 31),
    (130, 96, 33),
)
# Columns of the k formats are multiples of 256.
MATMUL_SUPER_BLOCKS = (
    (1, 256, 1),
    (1, 768, 33),
    (1, 2048, 70),
    (2, 256, 9),
    (7, 512, 40),
    (8, 768, 32),
    (9, 256, 65),
    (17, 512, 100),
    (64, 256, 31),
    (130, 256, 33),
)
MATMUL_FLOAT = (
    (1, 1, 1),
    (1, 7, 3),
    (1, 257, 13),
    (1, 640, 64),
    (2, 33, 9),
    (7, 70, 40),
    (8, 64, 32),
    (9, 31, 65),
    (17, 130, 100),
    (64, 96, 31),
    (130, 42, 33),
)

# (batch, rows, inner, columns): tiles of 32 x 32 with 16 of the inner dimension, whole and broken.
GEMM = ((1, 1, 1, 1), (1, 33, 17, 5), (3, 8, 40, 64), (2, 70, 96, 33), (1, 5, 1, 40), (1, 64, 300, 32))

# (rows, num_experts, top_k)
MOE_ROUTE = ((1, 1, 1), (1, 4, 2), (3, 33, 33), (5, 128, 8), (70, 60, 4), (1, 1024, 10))
# (rows, num_experts, top_k, columns, outputs): a pair at a time, and grouped where pairs outnumber the experts.
MOE_MATMUL = (
    (1, 8, 2, 256, 9),
    (2, 40, 3, 512, 33),
    (3, 4, 2, 256, 1),
    (20, 6, 6, 256, 70),
    (33, 5, 1, 512, 20),
)

# (rows, columns)
NORM = ((1, 1), (1, 24), (1, 640), (2, 129), (3, 576), (7, 31), (9, 1024), (64, 96), (2, 5376))
GLU = ((1, 1), (1, 2048), (3, 85), (8, 256), (17, 60))

# (..., rows, columns): within a tile of the transposing kernel, at its edges, over several
TRANSPOSE_2D = ((1, 1), (1, 70), (32, 32), (33, 31), (3, 5, 64), (2, 2, 40, 100))
# (rows, columns, rows of the target)
SCATTER_ROWS = ((1, 1, 1), (3, 70, 9), (8, 300, 8), (17, 576, 40))

# (rows, heads, kv_heads, head_dim, capacity, first position, window)
ATTENTION = (
    (1, 1, 1, 16, 4, 0, 0),
    (1, 4, 1, 256, 64, 63, 0),
    (1, 4, 1, 256, 600, 577, 512),
    (1, 9, 3, 64, 130, 128, 0),
    (1, 8, 1, 128, 40, 33, 8),
    (1, 5, 1, 32, 17, 16, 0),
    (3, 6, 2, 12, 20, 5, 0),
    (7, 4, 4, 20, 16, 9, 3),
    (9, 4, 2, 96, 33, 0, 5),
    (17, 3, 3, 40, 64, 30, 0),
    (64, 4, 2, 16, 80, 8, 8),
    (70, 8, 2, 80, 70, 0, 1),
    (70, 4, 1, 64, 130, 33, 0),
    (90, 6, 3, 128, 90, 0, 37),
    (150, 2, 1, 256, 150, 0, 0),
    (40, 2, 1, 64, 1200, 1100, 0),
    (20, 2, 1, 256, 1300, 1234, 700),
    (18, 2, 1, 192, 40, 20, 0),
)

# As above, for the form in tiles: whole and short tiles, windows inside and across them, long contexts.
ATTENTION_TILE = (
    (17, 2, 1, 64, 40, 0, 0),
    (64, 3, 3, 64, 200, 130, 0),
    (70, 4, 1, 128, 130, 33, 0),
    (150, 2, 1, 256, 150, 0, 0),
    (90, 6, 3, 128, 90, 0, 37),
    (33, 2, 1, 256, 700, 600, 512),
    (128, 2, 1, 64, 512, 384, 1),
    (40, 4, 2, 80, 90, 30, 0),
    (70, 2, 1, 96, 110, 33, 37),
    (33, 2, 1, 192, 300, 250, 0),
)

# As above: the head sizes of models, groups of one, four and others, parts that stay empty.
ATTENTION_SPLIT = (
    (1, 4, 1, 256, 600, 577, 512),
    (1, 9, 3, 64, 130, 128, 0),
    (1, 10, 2, 128, 300, 4, 0),
    (2, 4, 4, 80, 40, 33, 8),
    (3, 4, 2, 96, 33, 0, 5),
    (2, 6, 1, 192, 70, 60, 0),
    (1, 2, 1, 512, 70, 66, 0),
)

# (rows, heads, kv_heads, head_dim, capacity, first position)
ROPE_CACHE = (
    (1, 1, 1, 2, 1, 0),
    (1, 4, 1, 256, 16, 15),
    (2, 9, 3, 64, 40, 20),
    (7, 6, 2, 12, 12, 3),
    (9, 4, 4, 20, 32, 0),
    (64, 4, 2, 128, 80, 11),
    (3, 8, 1, 80, 4000, 3900),
    (2, 2, 1, 96, 20, 7),
    (1, 4, 2, 192, 20, 9),
    (2, 2, 1, 512, 20, 3),
)

# (heads, kv_heads, head_dim, capacity, position, window): the first position, windows, groups of many sizes
ROPE_ATTENTION = (
    (1, 1, 64, 1, 0, 0),
    (4, 1, 256, 64, 63, 0),
    (4, 1, 256, 600, 577, 512),
    (9, 3, 64, 130, 128, 0),
    (8, 1, 128, 40, 33, 8),
    (5, 1, 64, 17, 16, 1),
    (16, 8, 128, 300, 5, 0),
)

# vocab_size: within one span of the sampling kernel, at its edges, and over several.
VOCABULARIES = (1, 31, 300, 4095, 4096, 4097, 49152, 262144)
