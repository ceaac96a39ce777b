# SPDX-License-Identifier: Apache-2.0
"""Policy: Datalog rules over the state of all clouds, kept true with every change.

What stands is the pure half, `policy.datalog`, and `transom policy`, its tools that need no server.

Source: OpenStack Congress (retired), for the language and for what `simulate` answers.
"""
