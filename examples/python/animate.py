"""Let the person of a photograph move, and judge the frames: python animate.py photo.jpg "a person waves" FOLDER"""

import sys
from pathlib import Path

from posesyn_core import SampleError, draw, estimate, generate, judge, load_sample, make, plan
from posesyn_core.files.images import encode_jpeg

picture, text, folder = sys.argv[1:]
person, estimator = load_sample(picture), make("estimator", "starter")
[pose] = estimate(estimator, [person])
if isinstance(pose, SampleError):
    sys.exit(f"{picture}: {pose}")
clip = plan(generate(make("motion", "t2mgpt"), text, max_frames=48), person, pose, orientation="heading")
frames = draw(make("animator", "reprojection"), clip)
for number, (frame, found) in enumerate(zip(frames, judge(estimator, clip, frames), strict=True)):
    print(number, found.fault or found.verdict)
    Path(folder, f"{number:04d}.jpg").write_bytes(encode_jpeg(frame))
