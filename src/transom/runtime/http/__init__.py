# SPDX-License-Identifier: Apache-2.0
"""HTTP doors: one server, one application, routes from tables, one place for limits and errors."""
