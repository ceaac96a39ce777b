# SPDX-License-Identifier: Apache-2.0
"""The engine: core rules kept true as rows and rules change; see `engine`."""
