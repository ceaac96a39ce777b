# SPDX-License-Identifier: Apache-2.0
"""Decisions of the node room without I/O."""
