"""Where panels come from: a synthetic world, M5, the user's own files."""

from civstats.data.files import read_panel
from civstats.data.m5 import load_future, load_m5
from civstats.data.synthetic import World, WorldParameters, make_panel, make_world

__all__ = [
    "World",
    "WorldParameters",
    "load_future",
    "load_m5",
    "make_panel",
    "make_world",
    "read_panel",
]
