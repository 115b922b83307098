"""A motion that begins as somebody stands in a photograph: python motion.py photo.jpg "a person jumps" motion.npz"""

import sys

import numpy as np

from posesyn_core import SampleError, estimate, generate, load_sample, make

picture, text, target = sys.argv[1:]
[pose] = estimate(make("estimator", "starter"), [load_sample(picture)])
if isinstance(pose, SampleError):
    sys.exit(f"{picture}: {pose}")
motion = generate(make("motion", "t2mgpt"), text, pose, max_frames=80)
np.savez(target, joints=motion.joints, fps=motion.fps)
print(f"{len(motion.joints)} frames at {motion.fps:g} a second in {target}: (L, 22, 3) metres, y up")
