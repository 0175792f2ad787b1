"""civstats: the demand behind sales that stockouts cut short, and what being in stock is worth."""

from civstats.schema import (
    CivstatsError,
    Forecast,
    ForecastError,
    PanelError,
    validate_panel,
)

__version__ = "0.1.0"

__all__ = [
    "CivstatsError",
    "Forecast",
    "ForecastError",
    "PanelError",
    "__version__",
    "validate_panel",
]
