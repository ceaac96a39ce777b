# SPDX-License-Identifier: Apache-2.0
"""Decisions of identity: what a token's text is, whether it holds, when a guess must wait."""
