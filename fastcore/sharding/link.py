"""What connects the devices, and how fast they compute."""

from typing import NamedTuple


class Link(NamedTuple):
    """The α-β model of a network, with the speed of a device.

    latency_s: α, seconds a message. bytes_per_s: 1/β, of one link in one direction. flops_per_s: of one device.
    """

    latency_s: float = 5e-6
    bytes_per_s: float = 10e9
    flops_per_s: float = 100e9
