# SPDX-License-Identifier: Apache-2.0
"""The key server's API: routes and wire shapes."""
