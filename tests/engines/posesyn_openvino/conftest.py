"""One cache of graphs for the session: exporting takes seconds."""

from tests.engines.posesyn_onnx.conftest import graphs, registry

__all__ = ["graphs", "registry"]
