"""What a plugin brings for `posesyn experiment --world NAME`."""

from attrs import frozen


@frozen
class World:
    """A base recipe for experiments (TOML text), and what takes the place of the paper's other estimators.

    ``other``, ``hybrik``, ``labeller2d`` and ``labeller3d`` fill the braces of the tables' rows (components as inline
    tables of TOML); ``{real_only}`` in them stands for the weights that training on real data alone left.
    ``nerf`` is the animator of the rows that the paper has drawn by A-NeRF, and ``posegen`` are settings of PoseGen's
    run, whose published training is made for much data.
    ``truth`` are settings that give the mined samples their 3D truth, which Table 2 compares with. ``taus`` replace
    the paper's thresholds for estimators whose errors are of another size.
    """

    recipe: str
    other: str = ""
    hybrik: str = ""
    labeller2d: str = ""
    labeller3d: str = ""
    nerf: str = '"anerf"'
    posegen: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    taus: tuple[float, ...] = ()
