# SPDX-License-Identifier: Apache-2.0
"""The Identity API v3 of identity: routes, wire shapes, documents."""
