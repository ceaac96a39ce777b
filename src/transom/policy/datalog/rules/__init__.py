# SPDX-License-Identifier: Apache-2.0
"""A program: what policies say, checked, as core rules; what is doubtful about it."""
