"""A run as arrays: python read_run.py runs/demo"""

import sys

import numpy as np

from posesyn_core import open_run

run = open_run(sys.argv[1])
scored = run.arrays("score", "unit", "error", "estimate.joints3d")
hardest = np.argsort(-scored["error"])[:5]
print(f"{len(scored['unit'])} people scored, {len(run.rejected('score'))} rejected; the hardest:")
for at in hardest:
    print(f"{scored['error'][at]:6.1f}  {scored['unit'][at]}  pose {scored['estimate.joints3d'][at].shape}")
frames = run.arrays("filter", "verdict.keep", "verdict.error")
print(f"{frames['verdict.keep'].sum()} of {len(frames['verdict.keep'])} frames kept")
