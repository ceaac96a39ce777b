# SPDX-License-Identifier: Apache-2.0
"""Use cases of identity: authorise, decide, one atomic step in the store."""
