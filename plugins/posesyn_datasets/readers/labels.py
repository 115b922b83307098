"""What the writers share: a frame's labels as plain data."""

from typing import Any

from posesyn_core.values import Camera, LabelledFrame, SmplParams


def frame_labels(frame: LabelledFrame) -> dict[str, Any]:
    """Everything that is known of a frame but its pixels, ready for JSON; None where it is not known.

    - ``id``, ``caption``, ``source``: text;
    - ``box``: x0, y0, x1, y1, pixels;
    - ``joint_set``: what the joints are, "smpl24" for synthesised frames;
    - ``joints2d`` (J, 2) pixels and ``confidence`` (J,), in its order;
    - ``joints3d`` (J, 3) metres, camera frame (x right, y down, z away), relative to the root (SMPL's pelvis), or to
      the middle of the hips where it is unknown; ``confidence3d`` (J,) 1 or 0 = unknown, None with ``joints3d``;
    - ``camera``: ``focal_length`` (2,) and ``principal_point`` (2,), pixels;
    - ``smpl``: ``global_orient`` (3,), ``body_pose`` (23, 3) axis-angle, ``betas`` (10,), ``transl`` (3,) metres;
    - ``error_mm``: the filter's error (Eq. 6).
    """
    solid = frame.labels3d()
    return {
        "id": frame.id,
        "box": frame.box.tolist(),
        "joint_set": frame.joint_set,
        "joints2d": frame.joints2d.tolist(),
        "confidence": frame.confidence.tolist(),
        "joints3d": None if frame.joints3d is None else solid[:, :3].tolist(),
        "confidence3d": None if frame.joints3d is None else solid[:, 3].tolist(),
        "camera": _camera(frame.camera),
        "smpl": _smpl(frame.smpl),
        "error_mm": frame.error_mm,
        "caption": frame.caption,
        "source": frame.source,
    }


def _camera(camera: Camera | None) -> dict[str, list[float]] | None:
    if camera is None:
        return None
    return {"focal_length": camera.focal_length.tolist(), "principal_point": camera.principal_point.tolist()}


def _smpl(smpl: SmplParams | None) -> dict[str, Any] | None:
    if smpl is None:
        return None
    return {name: getattr(smpl, name).tolist() for name in ("global_orient", "body_pose", "betas", "transl")}
