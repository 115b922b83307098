"""The components that the core itself brings, registered as any plugin registers its own."""

from posesyn_core.components import Component, Kind
from posesyn_core.engines import TorchConfig, TorchEngine
from posesyn_core.filtering import TpeError, TpeErrorConfig
from posesyn_core.hookspecs import hookimpl


@hookimpl
def register_engines() -> list[Component]:
    return [
        Component(Kind.ENGINE, "torch", "Eager PyTorch", TorchEngine, TorchConfig),
        Component(
            Kind.ENGINE,
            "compile",
            "torch.compile, for every batch size",
            lambda config: TorchEngine(config, compiled=True),
            TorchConfig,
        ),
    ]


@hookimpl
def register_filters() -> list[Component]:
    return [
        Component(
            Kind.FILTER, "tpe_error", "Keep frames that the estimator gets right (Eq. 6)", TpeError, TpeErrorConfig
        )
    ]
