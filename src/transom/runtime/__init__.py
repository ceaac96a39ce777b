# SPDX-License-Identifier: Apache-2.0
"""What every process needs, and no part: configuration, clock, ids, secrets, doors, tokens, files.

Invariant: nothing here imports messaging, node or a part.
"""
