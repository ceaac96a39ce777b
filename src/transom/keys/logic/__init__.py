# SPDX-License-Identifier: Apache-2.0
"""Decisions of keys, without input or output."""
