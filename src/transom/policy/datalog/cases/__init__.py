# SPDX-License-Identifier: Apache-2.0
"""Facts and expectations as texts, and what of the rules they try; see `cases`."""
