"""The pictures on which an estimator fails most (Eq. 1): python score_folder.py FOLDER

FOLDER holds keypoints.json and pictures, as the reader "folder" takes them (`posesyn plugins show folder`).
"""

import sys

from posesyn_core import SampleError, estimate, make, read_samples, score

people = list(read_samples("folder", root=sys.argv[1]))
scored = score(people, estimate(make("estimator", "starter"), people))
for person, result in zip(people, scored, strict=True):
    if isinstance(result, SampleError):
        print(f"{person.id} has no score: {result}")
known = [result for result in scored if not isinstance(result, SampleError)]
for result in sorted(known, key=lambda result: -result.error)[:10]:
    print(f"{result.error:6.1f}  {result.sample.id}")
