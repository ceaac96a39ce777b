# SPDX-License-Identifier: Apache-2.0
"""What would be if: sequences of changes and of actions, on trial; see `simulate`."""
