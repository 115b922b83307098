"""Moving bodies as files of other programs: glTF (.glb), BVH, and AMASS's .npz."""
