"""3DCrowdNet (Choi et al., CVPR 2022): SMPL from an image crop and the person's 2D pose, robust in crowds."""
