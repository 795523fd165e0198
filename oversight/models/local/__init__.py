"""``hf/PATH_OR_ID``: models that run in this process, on transformers and torch.

Calls of concurrent episodes run together, what was read before is not read again, and given texts are scored in one
pass.  See :class:`LocalModel`.
"""

from .model import LocalModel, hf

__all__ = ["LocalModel", "hf"]
