"""What an estimator sees in a photograph: python estimate.py photo.jpg [x0 y0 x1 y1]"""

import sys

from posesyn_core import SampleError, estimate, load_sample, make
from posesyn_core.geometry.skeletons import joint_set

picture, *box = sys.argv[1:]
person = load_sample(picture, [float(pixel) for pixel in box] or None)
[found] = estimate(make("estimator", "starter"), [person])
if isinstance(found, SampleError):
    sys.exit(f"{picture}: {found}")
for name, (x, y), (_, _, z) in zip(joint_set("smpl24").joints, found.joints2d, found.joints3d, strict=True):
    print(f"{name:<16} at pixel ({x:.0f}, {y:.0f}), {1000 * z:+.0f} mm behind the pelvis")
