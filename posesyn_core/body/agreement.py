"""Which body goes with an estimator's weights, and whether two bodies are one.

Two bodies are one if the same SMPL parameters make the same person of both. Where they do not, labels that one part of
a run makes are wrong for the next, and nothing shows it.
"""

import warnings
from pathlib import Path

from torch import Tensor

from posesyn_core.body.model import Body, load_body
from posesyn_core.errors import PoseSynWarning, UserError

TOLERANCE_MM = 0.1
"""Bodies that make joints and surfaces within this of each other are one, as are a file's copies in float32."""
SHAPES = 3.0
"""Betas up to this size, in standard deviations, are compared."""
BENDS = 2.0
"""The greatest entry of SMPL's pose feature, of a joint that is turned round."""
MM = 1000.0


def body_difference(one: Body, other: Body) -> str | None:
    """How far the people are apart that two bodies make of the same parameters; None if they are one body.

    A clause in mm for a sentence that names both. The joints come first, because labels are made of them; then the
    surface: its size, its shape, how it bends and which joints it follows.
    """
    joints = _apart(one.rest_template, other.rest_template, one.rest_shapedirs, other.rest_shapedirs)
    if joints > TOLERANCE_MM:
        return f"their joints at rest are up to {joints:.3g} mm apart"
    if one.v_template.shape != other.v_template.shape:
        return f"they have {len(one.v_template):,} and {len(other.v_template):,} vertices"
    surface = _apart(one.v_template, other.v_template, one.shapedirs, other.shapedirs)
    if surface > TOLERANCE_MM:
        return f"their surfaces at rest are up to {surface:.3g} mm apart"
    bends = MM * BENDS * _greatest(one.posedirs, other.posedirs)
    if bends > TOLERANCE_MM:
        return f"their surfaces bend differently, by up to {bends:.3g} mm"
    share = _greatest(one.weights, other.weights)
    return f"their surfaces follow other joints, by shares of up to {share:.3g}" if share > TOLERANCE_MM / MM else None


def _apart(template: Tensor, other: Tensor, directions: Tensor, others: Tensor) -> float:
    """Millimetres between points (N, 3), also of people of other shapes (N, 3, 10)."""
    return MM * max(_greatest(template, other), SHAPES * _greatest(directions, others))


def _greatest(one: Tensor, other: Tensor) -> float:
    return float((one.cpu().double() - other.cpu().double()).abs().max())


def body_for_checkpoint(body: str, *, needs_smpl: bool, own: Body | None = None) -> Body:
    """The body for an estimator's weights: the one place that decides what happens without an SMPL file.

    ``body`` is the estimator's option of that name, ``own`` the body that the weight file brings, if it does. A path is
    loaded (see :func:`load_body`), and refused with a UserError if the weights bring another body: what they predict
    is of theirs. "" takes the weights' own, or else the free body, unless they predict betas of SMPL's shape space
    (``needs_smpl``: published checkpoints do): a UserError then tells where to get SMPL, because the same betas make
    a body of other proportions of the free one, and every label derived from it would be wrong without notice. "free"
    poses the free body all the same, with a PoseSynWarning: poses are right, bone lengths and metres are not.
    """
    if body not in ("", "free"):
        return _agreeing(load_body(Path(body).expanduser()), own, body)
    if own is not None and not body:
        return own
    if needs_smpl and not body:
        raise UserError(
            "these weights predict betas of the SMPL body, which does not come with PoseSyn: set the option body to "
            "your SMPL file (.pkl or .npz, free for research at https://smpl.is.tue.mpg.de), or to 'free' to look at "
            "poses on the free body"
        )
    if needs_smpl:
        warnings.warn(
            "the weights predict betas of SMPL, but body = 'free' poses the free body with them: poses are right, "
            "bone lengths are not; set body to your SMPL file before using the joints as labels",
            PoseSynWarning,
            stacklevel=2,
        )
    return load_body()


def _agreeing(loaded: Body, own: Body | None, name: str) -> Body:
    difference = None if own is None else body_difference(loaded, own)
    if difference is not None:
        raise UserError(
            f"the weights bring a body of their own, and the body {name!r} is another: {difference}; "
            "leave the option body empty to take theirs"
        )
    return loaded
