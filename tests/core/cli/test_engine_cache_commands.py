"""``posesyn engine list`` and ``posesyn engine clear``."""

from pathlib import Path

import pytest

from posesyn_core.cli import main
from posesyn_core.engines.cache import EngineCache, EngineKey

KEY = EngineKey("starter", "c0ffee", "tensorrt", "10.16.1", "NVIDIA H200", "9.0", "fp16", (1, 64))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("POSESYN_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return EngineCache()


def test_list_tells_what_each_engine_is_for(cache: EngineCache, capsys: pytest.CaptureFixture[str]) -> None:
    cache.get(KEY, lambda path: path.write_bytes(bytes(2_000_000)))  # type: ignore[arg-type, return-value]
    main(["engine", "list"])
    heading, row, total = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["network", "engine"]
    for word in ("starter", "tensorrt 10.16.1", "NVIDIA H200 9.0", "fp16", "1-64", "2.0", KEY.digest[:8]):
        assert word in row
    assert total == f"1 engines, 0.00 of 21 GB, in {cache.folder}"


def test_an_empty_cache_says_where_it_would_be(cache: EngineCache, capsys: pytest.CaptureFixture[str]) -> None:
    main(["engine", "list"])
    assert capsys.readouterr().out == f"0 engines, 0.00 of 21 GB, in {cache.folder}\n"


def test_clear_deletes_all_of_them(cache: EngineCache, capsys: pytest.CaptureFixture[str]) -> None:
    path = cache.get(KEY, lambda path: path.write_bytes(bytes(30_000_000)))  # type: ignore[arg-type, return-value]
    main(["engine", "clear"])
    assert capsys.readouterr().out == f"freed 0.03 GB in {cache.folder}\n"
    assert not path.exists()
