# SPDX-License-Identifier: Apache-2.0
"""The queue's decisions, without I/O."""
