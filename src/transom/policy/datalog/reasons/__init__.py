# SPDX-License-Identifier: Apache-2.0
"""Why a row is there, and why it is not: for people, and as plain data."""
