# SPDX-License-Identifier: Apache-2.0
"""Who asks: the context of a request, tokens and their validation, access rules."""
