"""The recipe of ``posesyn run FOLDER_OF_PHOTOS``: everything from pictures alone."""

import mimetypes
import tomllib
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from posesyn_core.errors import UserError
from posesyn_core.files.locating import PICTURES
from posesyn_core.recipe import Recipe, parse_recipe

RECIPE = Path(__file__).with_name("photographs.toml")


def recipe_of(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The whole loop on a picture, a folder of pictures, or a video, with ``settings`` (section.key=value) on top.

    The people found are mined and, with the labeller's 2D joints, trained on: what is set of ``dataset`` holds for
    both. UserError for a file of another kind.
    """
    data = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    data["name"] = path.absolute().stem or "photographs"
    data["dataset"] |= {"name": _reader(path), "root": str(path.absolute())}
    data["real"].append(data["dataset"])
    trained_on = f"real.{data['dataset']['name']}."
    copied = [trained_on + setting.removeprefix("dataset.") for setting in settings if setting.startswith("dataset.")]
    return parse_recipe(tomli_w.dumps(data), (*copied, *settings), str(RECIPE))


def _reader(path: Path) -> str:
    """Which reader takes it."""
    if path.is_dir() or path.suffix.lower() in PICTURES:
        return "images"
    if (mimetypes.guess_type(path)[0] or "").startswith("video/"):
        return "video"
    raise UserError(f"{str(path)!r} is neither a recipe (.toml) nor pictures or a video: check the path")
