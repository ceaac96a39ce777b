# SPDX-License-Identifier: Apache-2.0
"""Pure machines: no asyncio, no clock, no input or output."""
