"""The components that the core itself brings, registered as any plugin registers its own."""

from posesyn_core.components import Component, Kind, Licence
from posesyn_core.contracts.engines import EngineConfig
from posesyn_core.drawing.blank import Blank, BlankConfig
from posesyn_core.engines.pytorch import TorchEngine
from posesyn_core.hookspecs import hookimpl
from posesyn_core.method.agreement import AgreementConfig, KeypointAgreement
from posesyn_core.method.filtering import TpeError, TpeErrorConfig
from posesyn_core.method.wordless import Wordless, WordlessConfig

LICENCE = Licence(code="our own (Apache-2.0)", weights="none", data="yours")


@hookimpl
def register_engines() -> list[Component]:
    return [
        Component(Kind.ENGINE, "torch", "Eager PyTorch", TorchEngine, EngineConfig, licence=LICENCE),
        Component(
            Kind.ENGINE,
            "compile",
            "torch.compile (with CUDA graphs on a GPU)",
            lambda config: TorchEngine(config, compiled=True),
            EngineConfig,
            licence=LICENCE,
        ),
    ]


@hookimpl
def register_captioners() -> list[Component]:
    summary = "Says 'a person' of everybody: for motion generators that need no text"
    return [Component(Kind.CAPTIONER, "none", summary, Wordless, WordlessConfig, licence=LICENCE)]


@hookimpl
def register_animators() -> list[Component]:
    summary = "Draws nothing: labels alone, for estimators that need no picture"
    return [Component(Kind.ANIMATOR, "none", summary, Blank, BlankConfig, licence=LICENCE)]


@hookimpl
def register_filters() -> list[Component]:
    return [
        Component(
            Kind.FILTER,
            "tpe_error",
            "Keep frames that the estimator gets right (Eq. 6)",
            TpeError,
            TpeErrorConfig,
            licence=LICENCE,
        ),
        Component(
            Kind.FILTER,
            "keypoint_agreement",
            "Keep frames whose labelled limbs are where a 2D estimator sees them",
            KeypointAgreement,
            AgreementConfig,
            licence=LICENCE,
        ),
    ]
