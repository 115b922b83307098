"""PoseAug (Gong et al., CVPR 2021) and the four single-frame 2D-to-3D lifters that it trains."""
