"""The computation as data: nodes and tensor views, fusions, memory planning, lowering to device programs."""
