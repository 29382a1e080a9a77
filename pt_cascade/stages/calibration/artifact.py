"""A fitted calibration on disk: a folder with one JSON file of its numbers, a PyTerrier Artifact without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import pyterrier as pt

from pt_cascade.analysis.calibration.calibrators import CALIBRATORS, Calibrator
from pt_cascade.checksums import hash_json, save_folder
from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.files import PathLike, read_file, to_path

if TYPE_CHECKING:
    from pathlib import Path

_META = "pt_meta.json"
_KIND = {"type": "calibration", "format": "pt_cascade", "package_hint": "pt_cascade"}


@dataclass(frozen=True)
class Calibration(pt.Artifact):  # type: ignore[misc]
    """A fitted calibration of one stage; ``ptc.calibrate(stage, calibration)`` uses it.

    Attributes:
        calibrator: What was fitted.
        stage: The fingerprint of the stage whose scores it was fitted on; empty: unknown.
        path: The folder that it was saved to or loaded from; ``pt.Artifact.NO_PATH`` before.

    Example:
        >>> from pt_cascade.analysis.calibration import Platt
        >>> path = getfixture("tmp_path") / "platt"
        >>> saved = Calibration(Platt(slope=2.0, intercept=-1.0)).save(path)
        >>> Calibration.load(path) == saved
        True
    """

    calibrator: Calibrator
    stage: str = ""
    path: Path = pt.Artifact.NO_PATH

    ARTIFACT_TYPE: ClassVar[str] = "calibration"
    ARTIFACT_FORMAT: ClassVar[str] = "pt_cascade"

    def save(self, path: PathLike) -> Calibration:
        """Write it to a new folder.

        Args:
            path: A folder that does not exist yet.

        Returns:
            The same calibration with its path.

        Raises:
            PipelineError: The path exists.
        """
        meta = {**_KIND, "stage": self.stage, "method": self.calibrator.method, "parameters": asdict(self.calibrator)}
        content = json.dumps({**meta, "sha256": hash_json(meta)}, indent=1).encode()
        target = save_folder(path, {_META: content}, "the calibration", PipelineError)
        return Calibration(self.calibrator, self.stage, target)

    @classmethod
    def load(cls, path: PathLike) -> Calibration:
        """Read a saved calibration, as ``pt.Artifact.load`` does.

        Args:
            path: Its folder.

        Raises:
            MissingError: There is no such folder.
            PipelineError: It is damaged or not a calibration.
        """
        folder = to_path(path, "read")
        if not folder.is_dir():
            raise MissingError(
                f"cannot load the calibration {path}", ["there is no such folder"], fix="the path that save was given"
            )
        try:
            meta = json.loads(read_file(folder / _META))
            whole = meta.pop("sha256") == hash_json(meta) and {name: meta[name] for name in _KIND} == _KIND
            made = cls(CALIBRATORS[meta["method"]](**meta["parameters"]), meta["stage"], folder)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, MissingError) as error:
            whole, problem = False, f"{_META} does not describe a calibration ({type(error).__name__}: {error})"
        else:
            problem = f"{_META} is damaged, or of another kind: its content does not match its sha256 and type"
        if not whole:
            raise PipelineError(f"cannot load the calibration {path}", [problem], fix="fit it again, and save it")
        return made
