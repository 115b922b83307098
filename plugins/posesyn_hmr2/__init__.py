"""HMR 2.0 of 4D-Humans (Goel et al., ICCV 2023): a vision transformer that regresses SMPL parameters."""
