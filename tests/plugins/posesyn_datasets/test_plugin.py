"""What the plugin brings, through the registry."""

import subprocess
import sys
from pathlib import Path

from posesyn_core.components import DatasetReader, DatasetWriter, Kind
from posesyn_core.registry import Origin, Registry
from posesyn_datasets import plugin


def registry() -> Registry:
    registry = Registry.empty()
    registry.add(plugin, Origin("datasets", "posesyn", "0"))
    return registry


def test_readers_and_writers_are_made_from_options(tmp_path: Path) -> None:
    found = registry()
    assert {r.component.name for r in found.of_kind(Kind.READER)} >= {
        *(
            "agora",
            "coco",
            "deepfashion",
            "folder",
            "humman",
            "images",
            "mpii",
            "panoptic",
            "skipose",
            "ucf101",
            "video",
        ),
    }
    assert [r.component.name for r in found.of_kind(Kind.WRITER)] == ["coco", "spin", "webdataset"]
    for registered in found.of_kind(Kind.READER):
        reader = found.create(Kind.READER, registered.component.name, {"root": str(tmp_path)}, "dataset")
        assert isinstance(reader, DatasetReader)
    for registered in found.of_kind(Kind.WRITER):
        assert isinstance(found.create(Kind.WRITER, registered.component.name, {}, "export"), DatasetWriter)


def test_every_option_is_documented() -> None:
    import attrs

    for registered in registry().components.values():
        for field in attrs.fields(registered.component.config):
            assert field.metadata["doc"], (registered.component.name, field.name)


def test_every_data_set_says_where_it_is_from() -> None:
    for registered in registry().of_kind(Kind.READER):
        if registered.component.name not in ("folder", "images", "video"):  # the user's own
            about = registered.component.config.__doc__ or ""
            assert "http" in about, registered.component.name


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, posesyn_datasets.plugin; print(*{'torch', 'cv2', 'scipy', 'webdataset', 'PIL'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
