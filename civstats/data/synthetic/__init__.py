"""An M5-like retail world whose demand, and the mean of that demand, are known."""

from civstats.data.synthetic.parameters import WorldParameters
from civstats.data.synthetic.world import World, make_panel, make_world

__all__ = ["World", "WorldParameters", "make_panel", "make_world"]
