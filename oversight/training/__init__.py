"""Students, weak supervisors and what is kept of their training.

The heavy libraries of the extra ``training`` are imported where they are used.
"""

from __future__ import annotations

from .probe import Probe, confidence_weight, fit_probe

__all__ = ["Probe", "confidence_weight", "fit_probe"]
