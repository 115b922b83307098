"""SMPL-layout bodies: the model, fitting it to joints, rendering it."""
