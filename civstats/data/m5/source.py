"""The M5 files as bytes, from the Kaggle zip or a folder, with errors a user can act on."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from civstats.schema import DataError

ARCHIVE = "m5-forecasting-accuracy.zip"
CALENDAR = "calendar.csv"
PRICES = "sell_prices.csv"
SALES = ("sales_train_evaluation.csv", "sales_train_validation.csv")  # the longer one first


@dataclass(frozen=True)
class Source:
    """A zip or folder that holds M5's files.

    Attributes
    ----------
    path : pathlib.Path
    members : dict of str to str
        Where each file lies in it, by the file's plain name.
    zipped : bool
    """

    path: Path
    members: dict[str, str]
    zipped: bool

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        DataError
            If the file is not there, or cannot be read whole.
        """
        if name not in self.members:
            raise DataError(
                f"{self.path} holds no {name} (it holds {_listing(self.members)}); "
                "get all files of the Kaggle competition m5-forecasting-accuracy"
            )
        try:
            if self.zipped:
                with zipfile.ZipFile(self.path) as archive:
                    data = archive.read(self.members[name])
            else:
                data = Path(self.members[name]).read_bytes()
            # Blank lines at the end would be read as rows without content.
            return data.rstrip() if data.endswith((b"\n\n", b"\n\r\n")) else data
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(
                f"{name} in {self.path} is damaged ({_line(error)}); download the zip again"
            ) from error
        except (OSError, RuntimeError, NotImplementedError) as error:
            raise DataError(f"{name} in {self.path} cannot be read: {_line(error)}") from error

    @property
    def sales(self) -> str:
        """Name of the sales file: evaluation if it is there, else validation."""
        for name in SALES:
            if name in self.members:
                return name
        raise DataError(
            f"{self.path} holds neither {SALES[0]} nor {SALES[1]} (it holds "
            f"{_listing(self.members)}); point at the M5 zip or at the folder it unzips to"
        )


def open_source(path: str | Path) -> Source:
    """Find M5's files in a zip, in a folder, or in the Kaggle zip within a folder.

    Raises
    ------
    DataError
        If nothing is at `path`, or it is neither a folder nor a whole zip.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        members = {p.name: str(p) for p in sorted(path.iterdir()) if p.is_file()}
        if CALENDAR in members or ARCHIVE not in members:
            return Source(path, members, zipped=False)
        path = path / ARCHIVE
    if not path.exists():
        raise DataError(
            f"{path} does not exist; give the M5 zip ({ARCHIVE}) or the folder it unzips to"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/")]
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            started = file.read(4) == b"PK\x03\x04"
        if started:
            raise DataError(
                f"{path} is a zip cut short or damaged ({_line(error)}); download it again"
            ) from error
        raise DataError(
            f"{path} is not a zip; give the M5 zip ({ARCHIVE}) or the folder it unzips to"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_line(error)}") from error
    return Source(path, {PurePosixPath(n).name: n for n in names}, zipped=True)


def _line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _listing(members: dict[str, str]) -> str:
    names = sorted(members)
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "no files"
