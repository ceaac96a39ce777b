# SPDX-License-Identifier: Apache-2.0
"""Databases: one `Database` a file, verbs as transactions, numbered migrations."""
