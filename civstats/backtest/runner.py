"""Rolling-origin cross-validation of many models, one task per model and cutoff."""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pandas as pd

from civstats.backtest.folds import Fold, cut, windows
from civstats.backtest.result import Backtest
from civstats.models.base import Forecaster
from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    CivstatsError,
    Forecast,
    ForecastError,
    alias,
    check_h,
    check_level,
    validate_panel,
)


def cross_validation(
    panel: pd.DataFrame,
    forecasters: Forecaster | Sequence[Forecaster],
    *,
    h: int = 28,
    n_windows: int = 3,
    step_size: int | None = None,
    refit: bool = True,
    level: Sequence[float] = (80, 95),
    n_paths: int = 500,
    seed: int = 0,
    n_jobs: int = 1,
    progress: bool | None = None,
    keep_paths: bool = False,
    freq: str = "D",
) -> Backtest:
    """Forecast the last windows of a panel, each from the days before it alone.

    The panel is cut at each cutoff before a model sees it; of the days after, a model gets the
    keys and the known covariates. The last window ends on the panel's last day. A series without
    history at a cutoff is left out of that window and counted, never forecast as zero.

    Parameters
    ----------
    panel : pandas.DataFrame
        Long panel, checked by :func:`civstats.schema.validate_panel`; left as it was.
    forecasters : Forecaster or sequence of Forecaster
        Unfitted; they are copied and left as they were.
    h : int
        Periods ahead.
    n_windows : int
        Number of cutoffs.
    step_size : int, optional
        Periods between cutoffs; `h` by default, so that windows tile.
    refit : bool
        True fits anew at each cutoff. False fits at the first one and then only updates the
        history, parameters frozen; for models with :meth:`Forecaster.update`.
    level : sequence of float
        Levels of the central intervals, percent.
    n_paths : int
        Joint sample paths at the last cutoff (at all with `keep_paths`).
    seed : int
        Same seed, same paths, for any `n_jobs`.
    n_jobs : int
        Processes over models and cutoffs; models with threads of their own run one at a time.
    progress : bool, optional
        Show a bar on stderr; by default where that is a terminal.
    keep_paths : bool
        Keep every cutoff's forecasts and paths (series x paths x h x 4 bytes each).
    freq : str
        Pandas alias of the panel's periods.

    Returns
    -------
    Backtest

    Raises
    ------
    CivstatsError
        For arguments outside their range, two forecasters of one name, windows beyond history.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.models import make_forecaster
    >>> days = pd.date_range("2024-01-01", periods=70)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": [0, 1, 2, 3, 4, 5, 6] * 10})
    >>> result = cross_validation(panel, make_forecaster("SeasonalNaive"), h=7, n_windows=2)
    >>> [str(x.date()) for x in result.cutoffs]
    ['2024-02-25', '2024-03-03']
    """
    models = _check_models(forecasters)
    h, levels = check_h(h), check_level(level)
    step = _whole("step_size", h if step_size is None else step_size)
    for name, value, least in (
        ("n_windows", n_windows, 1),
        ("n_jobs", n_jobs, 1),
        ("n_paths", n_paths, 0),
    ):
        _whole(name, value, least)
    if not refit and n_windows > 1:
        _check_updates(models)
    panel = validate_panel(panel, freq=freq)
    spans = windows(panel, h, n_windows, step, freq)
    wanted = [n_paths if keep_paths or k == n_windows - 1 else 0 for k in range(n_windows)]
    results: dict[tuple[str, int], tuple[Forecast, float]] = {}
    left_out: dict[int, pd.DataFrame] = {}

    def tasks(names: list[str]) -> Iterator[_Task]:
        """One model at one cutoff; at all cutoffs where its history is only updated."""
        made = (cut(panel, k, *span) for k, span in enumerate(spans))
        groups: Iterator[list[Fold]] = ([x] for x in made) if refit else iter([list(made)])
        for folds in groups:
            left_out.update({x.number: x.left_out for x in folds})
            for name in names:
                paths = [wanted[x.number] for x in folds]
                yield _Task(name, models[name], folds, levels, paths, seed)

    # Threads of its own and processes beside it would fight for the same cores.
    alone = [name for name, model in models.items() if n_jobs == 1 or model.fills_cores]
    shared = [name for name in models if name not in alone]
    with _bar(progress, len(models) * n_windows) as advance:
        for names, jobs in ((shared, n_jobs), (alone, 1)):
            for name, done in _results(tasks(names), jobs) if names else ():
                for number, forecast, seconds in done:
                    results[name, number] = (forecast, seconds)
                    advance(f"{name}, {spans[number][0].date()}")
    return _assemble(panel, list(models), results, left_out, tuple(levels), h, keep_paths)


@dataclass(frozen=True)
class _Task:
    name: str
    forecaster: Forecaster
    folds: list[Fold]
    level: list[float]
    n_paths: list[int]
    seed: int


_Done = list[tuple[int, Forecast, float]]


def _run(task: _Task) -> tuple[str, _Done]:
    from threadpoolctl import threadpool_limits

    model = copy.deepcopy(task.forecaster)
    done: _Done = []
    # One BLAS thread: the last bits of a product must not depend on how many cores are free.
    with threadpool_limits(1, user_api="blas"):
        for fold, n_paths in zip(task.folds, task.n_paths, strict=True):
            start = time.perf_counter()
            (model.update if done else model.fit)(fold.history)
            forecast = model.predict(fold.future, level=task.level, n_paths=n_paths, seed=task.seed)
            _check_keys(forecast, fold)
            done.append((fold.number, forecast, time.perf_counter() - start))
    return task.name, done


def _results(tasks: Iterator[_Task], n_jobs: int) -> Iterator[tuple[str, _Done]]:
    if n_jobs == 1:
        yield from map(_run, tasks)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    # Memory maps would hand the workers read-only columns, which pandas refuses here and there.
    pool = Parallel(n_jobs, return_as="generator_unordered", max_nbytes=None, pre_dispatch=n_jobs)
    with warnings.catch_warnings():
        # A worker whose memory has grown by a panel is replaced once its task is done.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        yield from pool(delayed(_run)(task) for task in tasks)
    # Idle workers would hold their memory while the models with threads of their own run.
    get_reusable_executor().shutdown(wait=True)


def _assemble(
    panel: pd.DataFrame,
    names: list[str],
    results: dict[tuple[str, int], tuple[Forecast, float]],
    left_out: dict[int, pd.DataFrame],
    level: tuple[float, ...],
    h: int,
    keep_paths: bool,
) -> Backtest:
    numbers = sorted(left_out)
    ids = panel[ID].cat.categories
    folds = []
    for number in numbers:
        made = [results[name, number][0] for name in names]
        keys = made[0].frame[[ID, DS, CUTOFF]].reset_index(drop=True)
        keys[ID] = pd.Categorical(keys[ID], categories=ids)
        columns = [x.frame[x.columns].reset_index(drop=True) for x in made]
        folds.append(pd.concat([keys, *columns], axis=1))
    frame = pd.concat(folds, ignore_index=True).sort_values([ID, DS, CUTOFF], ignore_index=True)
    cutoffs = [x[CUTOFF].iloc[0] for x in folds]
    return Backtest(
        frame=frame,
        forecasts={name: results[name, numbers[-1]][0] for name in names},
        left_out=pd.concat([left_out[k] for k in numbers], ignore_index=True),
        level=level,
        models=tuple(names),
        seconds={name: sum(results[name, k][1] for k in numbers) for name in names},
        h=h,
        all_forecasts={
            (name, cutoff): made if keep_paths else replace(made, paths=None)
            for name in names
            for k, cutoff in zip(numbers, cutoffs, strict=True)
            for made in (results[name, k][0],)
        },
    )


def _check_models(forecasters: Forecaster | Sequence[Forecaster]) -> dict[str, Forecaster]:
    given = [forecasters] if isinstance(forecasters, Forecaster) else list(forecasters)
    if not given:
        raise CivstatsError("no forecaster given; civstats.models.registry() lists them")
    for x in given:
        if not isinstance(x, Forecaster):
            raise CivstatsError(
                f"forecasters must be Forecaster objects, but got {x!r}; "
                "build one with civstats.models.make_forecaster(name, treatment=...)"
            )
    names = [alias(x.name, x.treatment) for x in given]
    twice = sorted({x for x in names if names.count(x) > 1})
    if twice:
        raise CivstatsError(
            f"two forecasters would write the column(s) {', '.join(twice)}; "
            "drop one or give it another name"
        )
    return dict(zip(names, given, strict=True))


def _check_updates(models: dict[str, Forecaster]) -> None:
    frozen = [name for name, model in models.items() if not model.can_update]
    if frozen:
        raise CivstatsError(
            f"refit=False needs models that take new history with their parameters frozen, which "
            f"{', '.join(frozen)} cannot; use refit=True"
        )


def _check_keys(forecast: Forecast, fold: Fold) -> None:
    asked, got = fold.future[[ID, DS]], forecast.frame[[ID, DS]]
    same = len(asked) == len(got) and all(
        (asked[c].to_numpy() == got[c].to_numpy()).all() for c in (ID, DS)
    )
    if not same or (forecast.frame[CUTOFF] != fold.cutoff).any():
        raise ForecastError(
            f"{forecast.name}: the forecast's {len(got)} row(s) are not the {len(asked)} asked for "
            f"at the cutoff {fold.cutoff.date()}"
        )


def _whole(name: str, value: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CivstatsError(f"{name} must be a whole number, {least} or more, but got {value!r}")
    return value


@contextmanager
def _bar(progress: bool | None, total: int) -> Iterator[Callable[[str], None]]:
    """Yield a function that names what is done; it draws on stderr, or nothing."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("forecasting", total=total)
        yield lambda text: bar.update(task, advance=1, description=text)
