# SPDX-License-Identifier: Apache-2.0
"""Verbs on identity's database, by noun, and the folder of its keys."""
