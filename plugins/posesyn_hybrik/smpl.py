"""The body inside the network: SMPL's arrays under the official names, with which every checkpoint comes.

An official file holds the whole body as ``smpl.*`` (SMPL's neutral body: its licence applies), and what stands there
takes the place of any body that the network was made with.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from posesyn_core.body.model import Body, ShapeSpace, body_of_buffers
from posesyn_core.body.skinning import pose_feature, rigid_chain, skin
from posesyn_hybrik.skeleton import BONE_CHILD, LEAF_VERTICES, PARENTS, SMPL_VERTICES, leaf_vertices

SMPL_FACES = 13776


class HybrikSmpl(nn.Module):
    """SMPL's arrays, V vertices and F triangles, as buffers of the official names; all zero until they are loaded.

    ``leaves`` are the vertices of joints 24..28, which files don't name.
    """

    faces_tensor: Tensor
    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    J_regressor: Tensor
    J_regressor_h36m: Tensor
    lbs_weights: Tensor
    parents: Tensor
    leaves: Tensor

    def __init__(
        self, vertices: int = SMPL_VERTICES, faces: int = SMPL_FACES, leaves: Sequence[int] = LEAF_VERTICES
    ) -> None:
        super().__init__()
        shapes = {
            "v_template": (vertices, 3), "shapedirs": (vertices, 3, 10), "posedirs": (207, 3 * vertices),
            "J_regressor": (24, vertices), "J_regressor_h36m": (17, vertices), "lbs_weights": (vertices, 24),
        }  # fmt: skip
        self.register_buffer("faces_tensor", torch.zeros(faces, 3, dtype=torch.int64))
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("children_map", torch.tensor(BONE_CHILD))
        self.register_buffer("parents", torch.tensor(PARENTS))
        self.register_buffer("leaves", torch.tensor(tuple(leaves)), persistent=False)

    def forward(self, betas: Tensor) -> Tensor:
        """(B, 10) -> (B, 29, 3) metres: the joints of the T-pose, the five last on the skin."""
        shapes = torch.cat([self.v_template[..., None], self.shapedirs], dim=-1)
        joints = (self.J_regressor @ shapes.flatten(1)).unflatten(1, (3, 11))
        basis = torch.cat([joints, shapes.index_select(0, self.leaves)])
        return basis[..., 0] + (basis[..., 1:] @ betas.mT).permute(2, 0, 1)

    def posed_joints(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """The 29 joints (B, 29, 3) of the body posed by ``rotations`` (B, 24, 3, 3), the root's joint where it rests.

        Only the five vertices that are joints are skinned.
        """
        rest = self(betas)
        bones = rest[:, :24]
        world, joints = rigid_chain(rotations, bones)
        directions = self.posedirs.unflatten(1, (-1, 3)).index_select(1, self.leaves)
        skins = rest[:, 24:] + torch.einsum("bp,pva->bva", pose_feature(rotations), directions)
        weights = self.lbs_weights.index_select(0, self.leaves)
        return torch.cat([joints, skin(skins, weights, world, joints, bones)], dim=1)


def smpl_of_body(body: Body, leaves: Sequence[int] | None = None, h36m_regressor: Tensor | None = None) -> HybrikSmpl:
    """The arrays of ``body``; ``leaves`` as in ``posesyn_hybrik.skeleton.leaf_vertices`` unless given."""
    template = body.v_template
    smpl = HybrikSmpl(len(template), len(body.faces), leaves or leaf_vertices(template.cpu().numpy()))
    arrays = {
        "faces_tensor": body.faces, "v_template": template, "shapedirs": body.shapedirs,
        "posedirs": body.posedirs, "J_regressor": body.J_regressor, "lbs_weights": body.weights,
    }  # fmt: skip
    if h36m_regressor is not None:
        arrays["J_regressor_h36m"] = h36m_regressor
    smpl.load_state_dict(arrays, strict=False)
    return smpl


def smpl_of_state(state: Mapping[str, Tensor]) -> HybrikSmpl | None:
    """The body that a checkpoint brings, still to be loaded; None if it brings none."""
    template, faces = state.get("smpl.v_template"), state.get("smpl.faces_tensor")
    if template is None or faces is None:
        return None
    return HybrikSmpl(len(template), len(faces), leaf_vertices(template.cpu().numpy()))


def body_of_smpl(smpl: HybrikSmpl, shape_space: ShapeSpace = "smpl") -> Body:
    """The core's body with the arrays of ``smpl``: for meshes."""
    return body_of_buffers(dict(smpl.named_buffers()), shape_space)
