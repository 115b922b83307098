"""HybrIK (Li et al., CVPR 2021): 3D joint heatmaps and a closed-form inverse kinematics that poses SMPL by them."""
