# SPDX-License-Identifier: Apache-2.0
"""A part on the bus: node, leases, durable feeds, and the supervisor of processes."""
