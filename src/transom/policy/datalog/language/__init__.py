# SPDX-License-Identifier: Apache-2.0
"""The text: from characters to a syntax tree, and back to one spelling."""
