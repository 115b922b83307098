"""SPIN (Kolotouros et al., ICCV 2019): a regressor of SMPL parameters from one image crop."""
