# SPDX-License-Identifier: Apache-2.0
"""Every claim of speed, one file each, the peer beside it in the same run.

`python -m bench` runs all of them; each writes `bench/results/<claim>.json`. Read ratios and
medians: absolute figures of a shared machine prove nothing.
"""
