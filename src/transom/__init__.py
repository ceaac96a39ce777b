"""Transom: one control plane for many clouds."""

__version__ = "0.4.0"
