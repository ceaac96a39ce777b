# SPDX-License-Identifier: Apache-2.0
"""The store of keys: each verb is one atomic step of named statements."""
